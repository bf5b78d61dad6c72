"""Write docs/api.md from the comments of the .proto files, or with --check compare it with what is committed."""

import re
import subprocess
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    MethodDescriptorProto,
    ServiceDescriptorProto,
)

ROOT = Path(__file__).resolve().parent.parent
BUF = Path(sys.executable).with_name("buf")
PAGE = ROOT / "docs/api.md"
COLUMNS = 130

INTRODUCTION = """\
`make generate` writes this page from the comments in [proto/workflowstore/v1](../proto/workflowstore/v1/), which are
the specification. What to do about each error stands in [errors.md](errors.md), a call of each RPC in
[tools.md](tools.md)."""


def files() -> list[FileDescriptorProto]:
    """The .proto files with their comments, the one with the service first."""
    command = [str(BUF), "build", "--as-file-descriptor-set", "--exclude-imports", "--output", "-"]
    built = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
    return sorted(FileDescriptorSet.FromString(built).file, key=lambda file: (not file.service, file.name))


class Page:
    """The page of some files. A comment is found by the path of its declaration, as descriptor.proto defines paths."""

    def __init__(self, files: Sequence[FileDescriptorProto]) -> None:
        self.files = files
        self.homes = {message.name: message.name for file in files for message in file.message_type}
        """The type that each name of a type, or of a value of one, is told at."""
        self.homes |= {enum.name: enum.name for file in files for enum in file.enum_type}
        self.homes |= {value.name: enum.name for file in files for enum in file.enum_type for value in enum.value}
        # What is in backquotes is left as it is: there a link would be shown by its letters.
        self.mention = re.compile(rf"`[^`]*`|\b({'|'.join(self.homes)})(?:\.\w+)?\b")

    def text(self) -> str:
        """The whole page."""
        services = [line for file in self.files for line in self._services(file)]
        messages = [line for file in self.files for line in self._messages(file)]
        enums = [line for file in self.files for line in self._enums(file)]
        lines = ["# API", "", INTRODUCTION, "", *services, "## Messages", "", *messages, "## Enums", "", *enums]
        return "\n".join(lines).rstrip("\n") + "\n"

    def _services(self, file: FileDescriptorProto) -> Iterator[str]:
        comments = _comments(file)
        for number, service in enumerate(file.service):
            path = (FileDescriptorProto.SERVICE_FIELD_NUMBER, number)
            yield from (f"## {service.name}", "", f"`{file.package}.{service.name}`", "")
            yield from self._prose(comments[path])
            yield from ("| call | request | reply |", "| --- | --- | --- |")
            yield from (f"| {_to(rpc.name)} | {_to(rpc.input_type)} | {_reply(rpc)} |" for rpc in service.method)
            yield ""
            for place, rpc in enumerate(service.method):
                comment = comments[*path, ServiceDescriptorProto.METHOD_FIELD_NUMBER, place]
                yield from (f"### {rpc.name}", "", f"{_to(rpc.input_type)} → {_reply(rpc)}", "")
                yield from self._prose(comment)

    def _messages(self, file: FileDescriptorProto) -> Iterator[str]:
        comments = _comments(file)
        for number, message in enumerate(file.message_type):
            path = (FileDescriptorProto.MESSAGE_TYPE_FIELD_NUMBER, number)
            yield from (f"### {message.name}", "")
            yield from self._prose(comments[path], within=message.name)
            yield from ("| field | type | label | meaning |", "| --- | --- | --- | --- |")
            yield from (self._row(cells, within=message.name) for cells in _fields(message, path, comments))
            yield ""

    def _enums(self, file: FileDescriptorProto) -> Iterator[str]:
        comments = _comments(file)
        for number, enum in enumerate(file.enum_type):
            path = (FileDescriptorProto.ENUM_TYPE_FIELD_NUMBER, number)
            yield from (f"### {enum.name}", "")
            yield from self._prose(comments[path], within=enum.name)
            yield from ("| value | number | meaning |", "| --- | --- | --- |")
            for place, value in enumerate(enum.value):
                comment = comments[*path, EnumDescriptorProto.VALUE_FIELD_NUMBER, place]
                yield self._row([f"`{value.name}`", str(value.number), comment], within=enum.name)
            yield ""

    def _prose(self, comment: str, *, within: str = "") -> Iterator[str]:
        for paragraph in _paragraphs(comment):
            linked = self._linked(paragraph, within)
            yield from textwrap.wrap(linked, COLUMNS, break_long_words=False, break_on_hyphens=False)
            yield ""

    def _row(self, cells: Sequence[str], *, within: str) -> str:
        """A row of a table, whose last cell is a comment."""
        comment = "<br>".join(self._linked(paragraph, within) for paragraph in _paragraphs(cells[-1]))
        return "| " + " | ".join([*cells[:-1], comment.replace("|", r"\|")]) + " |"

    def _linked(self, text: str, within: str) -> str:
        """The text with links from the types that it names, but for the one that it stands at."""

        def link(match: re.Match[str]) -> str:
            home = self.homes.get(match[1], within)
            return match[0] if home == within else f"[{match[0]}](#{home.lower()})"

        return self.mention.sub(link, text)


def _comments(file: FileDescriptorProto) -> dict[tuple[int, ...], str]:
    return {tuple(location.path): location.leading_comments for location in file.source_code_info.location}


def _paragraphs(comment: str) -> Iterable[str]:
    for paragraph in re.split(r"\n\s*\n", comment.strip()):
        words = " ".join(paragraph.split())
        yield re.sub(r"^Example: (.*)$", r"Example: `\1`", words)


def _fields(
    message: DescriptorProto, path: tuple[int, ...], comments: dict[tuple[int, ...], str]
) -> Iterator[tuple[str, str, str, str]]:
    """The name, type, label and comment of each field, and of a oneof before the first of its fields."""
    maps = {item.name: item.field for item in message.nested_type if item.options.map_entry}
    told = set()
    for place, field in enumerate(message.field):
        label = "optional" if field.proto3_optional else ""
        # Each optional field is in a oneof of its own, which nobody has written.
        if field.HasField("oneof_index") and not field.proto3_optional:
            group = message.oneof_decl[field.oneof_index].name
            label = f"of `{group}`"
            if group not in told:
                told.add(group)
                place_of_group = (*path, DescriptorProto.ONEOF_DECL_FIELD_NUMBER, field.oneof_index)
                yield f"`{group}`", "oneof", "", comments[place_of_group]
        kind = _to(field)
        if field.label == FieldDescriptorProto.LABEL_REPEATED:
            label = "repeated"
            if entry := maps.get(field.type_name.rpartition(".")[2]):
                key, value = entry
                kind, label = f"map of {_to(key)} to {_to(value)}", ""
        yield f"`{field.name}`", kind, label, comments[*path, DescriptorProto.FIELD_FIELD_NUMBER, place]


def _to(target: str | FieldDescriptorProto) -> str:
    """A link to a call or a type of ours, or the name of any other type."""
    if isinstance(target, FieldDescriptorProto):
        if not target.type_name:
            return FieldDescriptorProto.Type.Name(target.type).removeprefix("TYPE_").lower()
        target = target.type_name
    if target.startswith(".google."):
        return f"`{target[1:]}`"
    name = target.rpartition(".")[2]
    return f"[{name}](#{name.lower()})"


def _reply(rpc: MethodDescriptorProto) -> str:
    return f"stream of {_to(rpc.output_type)}" if rpc.server_streaming else _to(rpc.output_type)


def main() -> None:
    text = Page(files()).text()
    if sys.argv[1:] == ["--check"]:
        if not PAGE.exists() or PAGE.read_text() != text:
            sys.exit(f"{PAGE.name}: not what the comments of the .proto files say; run `make generate`")
        return
    PAGE.write_text(text)


if __name__ == "__main__":
    main()
