"""Letters, colours and the few lines of script of the page."""

from __future__ import annotations

from typing import Final

from celeriac_conformance.outcomes import Outcome

__all__ = ["LETTERS", "MEANINGS", "SCRIPT", "STYLE"]

LETTERS: Final = {
    Outcome.PASSED: "P",
    Outcome.FAILED: "F",
    Outcome.KNOWN: "K",
    Outcome.UNSUPPORTED: "U",
    Outcome.ERROR: "E",
}
MEANINGS: Final = {
    Outcome.PASSED: "did what the case expects",
    Outcome.FAILED: "did something else, or was expected to fail and did not",
    Outcome.KNOWN: "failed as the list of known failures says",
    Outcome.UNSUPPORTED: "the implementation, version, carrier or broker does not offer what the case needs",
    Outcome.ERROR: "could not be set up, or real Celery fails the case itself: nothing was learnt",
}

STYLE: Final = """
:root{color-scheme:light dark;--line:#8886;--P:#1a7f37;--F:#cf222e;--K:#8250df;--U:#6e7781;--E:#9a6700;
--Pb:#dafbe1;--Fb:#ffebe9;--Kb:#fbefff;--Ub:#eaeef2;--Eb:#fff8c5;--bg:#fff;--fg:#1f2328}
@media(prefers-color-scheme:dark){:root{--P:#3fb950;--F:#ff7b72;--K:#bc8cff;--U:#9198a1;--E:#d29922;
--Pb:#12261e;--Fb:#3c1618;--Kb:#271c3f;--Ub:#21262d;--Eb:#2e2410;--bg:#0d1117;--fg:#e6edf3}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:72rem;padding:.75rem;font:16px/1.45 system-ui,sans-serif;
background:var(--bg);color:var(--fg)}
h1{font-size:1.4rem;margin:.2rem 0}h2{font-size:1.15rem;margin:1.4rem 0 .4rem}h3{font-size:1rem;margin:1rem 0 .3rem}
a{color:inherit}code{font:.85em/1.4 ui-monospace,monospace;overflow-wrap:anywhere}
table{border-collapse:collapse}th,td{border:1px solid var(--line);padding:.3rem .4rem;text-align:left}
.wide{overflow-x:auto;-webkit-overflow-scrolling:touch}
.matrix th[scope=row]{position:sticky;left:0;background:var(--bg);z-index:1}
.matrix td{padding:0;font-variant-numeric:tabular-nums;white-space:nowrap}
.matrix td a{display:block;padding:.55rem .4rem;text-decoration:none;min-width:2.75rem}
.matrix tfoot td{padding:.4rem}
.totals td{text-align:right;min-width:4rem;font-variant-numeric:tabular-nums}.totals th{font-weight:400}
.P{color:var(--P)}.F{color:var(--F);font-weight:700}.K{color:var(--K)}.U{color:var(--U)}.E{color:var(--E);font-weight:700}
td.P{background:var(--Pb)}td.F{background:var(--Fb)}td.K{background:var(--Kb)}td.U{background:var(--Ub)}td.E{background:var(--Eb)}
td.F,td.E{font-weight:400}@media(max-width:40rem){.matrix td span{display:block}.matrix td a{padding:.4rem .3rem}}
td.none{color:inherit;opacity:.6}
.chip{display:inline-block;border:1px solid currentColor;border-radius:.4rem;padding:.05rem .4rem;font-size:.8rem;
white-space:nowrap}a.chip{padding:.3rem .5rem}
p{overflow-wrap:anywhere}details{margin:.2rem 0}summary{cursor:pointer;padding:.4rem 0;overflow-wrap:anywhere}
details details{margin-left:.6rem}
.cases{list-style:none;margin:0;padding:0}.cases li{padding:.3rem 0;border-top:1px solid var(--line)}
small{display:block;opacity:.8;overflow-wrap:anywhere}.trace small{display:inline}
pre{overflow:auto;max-height:24rem;padding:.5rem;border:1px solid var(--line);font:.78rem/1.35 ui-monospace,monospace;
white-space:pre-wrap;overflow-wrap:anywhere;margin:.3rem 0}
.trace ol{padding-left:1.6rem}.trace li{padding:.2rem 0}
:target>summary{outline:2px solid currentColor;outline-offset:2px}
"""

SCRIPT: Final = """
function show(){const id=decodeURIComponent(location.hash.slice(1));const target=id&&document.getElementById(id);
if(!target)return;for(let one=target;one;one=one.parentElement)if(one.tagName==="DETAILS")one.open=true;
target.scrollIntoView()}
addEventListener("hashchange",show);show();
"""
