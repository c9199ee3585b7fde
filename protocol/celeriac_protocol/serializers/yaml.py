"""YAML, the safe part of it: plain data, block style, sorted keys.

An alias repeats what its anchor holds for the price of two characters, and aliases of aliases do so exponentially.
The value in memory stays small, since the repetitions share it, but whoever walks, prints or re-encodes it meets
them all. So the size of a document is counted as if every alias were written out, and bounded.

Spec: task-message#6.1
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac_protocol.errors import UndecodableBodyError
from celeriac_protocol.serializers.registry import MissingLibraryError

if TYPE_CHECKING:
    from types import ModuleType

    import yaml

__all__ = ["YamlSerializer"]

_MIN_NODE_LIMIT = 1_000_000
_NODES_PER_BYTE = 10


class YamlSerializer:
    """The serializer ``yaml``; needs PyYAML."""

    name = "yaml"
    content_type = "application/x-yaml"
    content_encoding = "utf-8"

    def dumps(self, value: object) -> bytes:
        """Return `value` as a YAML document."""
        text: str = _library().safe_dump(value)
        return text.encode()

    def loads(self, data: bytes, content_encoding: str) -> object:
        """Return the value of a YAML document; its byte order mark, if any, decides the encoding."""
        del content_encoding
        loader = _library().SafeLoader(data)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _check_size(node, max(_MIN_NODE_LIMIT, _NODES_PER_BYTE * len(data)))
            value: object = loader.construct_document(node)
            return value
        finally:
            loader.dispose()

    def require(self) -> None:
        """Raise `MissingLibraryError` without PyYAML."""
        _library()


def _library() -> ModuleType:
    try:
        import yaml
    except ImportError as exc:
        raise MissingLibraryError("serializer yaml: needs PyYAML (celeriac[yaml])") from exc
    return yaml


def _check_size(root: yaml.Node, limit: int) -> None:
    """Refuse a document of more than `limit` nodes with all aliases written out, or one that contains itself."""
    sizes: dict[int, int] = {}
    open_nodes: set[int] = set()

    def size(node: yaml.Node) -> int:
        if isinstance(node.value, str):
            return 1
        if id(node) in sizes:
            return sizes[id(node)]
        if id(node) in open_nodes:
            raise UndecodableBodyError("body", "a document that does not contain itself", "a cycle")
        open_nodes.add(id(node))
        total = 1
        for child in node.value:
            total += sum(map(size, child)) if isinstance(child, tuple) else size(child)
            if total > limit:
                raise UndecodableBodyError(
                    "body", f"at most {limit} values with aliases written out", "more"
                )
        open_nodes.discard(id(node))
        sizes[id(node)] = total
        return total

    size(root)
