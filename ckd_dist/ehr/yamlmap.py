"""A user's YAML mapping, in which a name stands once: of two entries of one name YAML keeps the last, in silence."""

from typing import Any

import yaml


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        lines: dict[str, int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if isinstance(key, yaml.ScalarNode) and key.value in lines and key.value != "<<":
                raise ValueError(
                    f"{key.value!r} stands twice, at lines {lines[key.value]} and {line}: keep one of them"
                )
            lines[str(key.value)] = line
        return super().construct_mapping(node, deep)


def load_mapping(text: str) -> Any:
    """Return what a YAML text says.  Raise ValueError, without a file's name, where it is none or repeats a name."""
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise ValueError(f"this is not YAML{f' at line {mark.line + 1}' if mark else ''}") from None
