"""What a run leaves behind: JSON lines, JUnit, wire traces and one static page that shows the whole matrix.

======================  ==========================================================================================
`records`               one line for each case and cell; reading and writing folders of them
`traces`                what crossed the broker while a case ran, for those that did not pass
`plugin`                writes both while pytest runs, and tells how far it is
`tables`, `page`        the matrix of implementations, versions and areas; the page
`merge`                 ``python -m celeriac_conformance report``: one page out of several runs
======================  ==========================================================================================
"""
