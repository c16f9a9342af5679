"""Understands how commands are typed: months, codes and numbers, help and errors of use in Danish, completion."""

import csv
import os
import re
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any, NoReturn

import click
from click.shell_completion import CompletionItem

REPOSITORY = Path(__file__).resolve().parent.parent
MONTH = re.compile(r"[0-9]{4}-[0-9]{2}")
# How people write a month; never taken as one, but the right form is shown.
ODD_MONTHS = (
    re.compile(r"(?P<year>20\d\d)\D?(?P<month>\d{1,2})"),
    re.compile(r"(?P<month>\d{1,2})\D?(?P<year>20\d\d)"),
    re.compile(r"(?P<year>20\d\d)-(?P<month>\d{2})-\d{2}"),
)
# The words that click itself puts in the help of an option.
WORDS = {" TEXT": " TEKST", "[default: ": "[ellers ", "; required]": "; skal med]", "[required]": "[skal med]"}


def root(variable: str, default: str) -> Path:
    """The folder of a variable, or of the checkout, unproved: completion must cost nothing (`place` proves it)."""
    return Path(os.environ.get(variable) or REPOSITORY / default).expanduser()


class Months(click.ParamType[list[date]]):
    """`YYYY-MM`, or `YYYY-MM..YYYY-MM` for every month between, both included."""

    name = "måned"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> list[date]:
        """The months in order; a usage error if the text is not one of the two forms."""
        from refusion_assets.domain.calendar import month_of, month_range  # noqa: PLC0415  Polars takes a while to load

        parts = value.split("..")
        try:
            ends = [month_of(part) for part in parts]
        except ValueError:
            self.fail(f"{value!r} er ikke en måned; skriv {self._forms()}{_meant(parts)}", param, ctx)
        months = month_range(ends[0], ends[-1])
        if len(ends) > 2 or not months:
            self.fail(f"{value!r} er ikke et interval; skriv YYYY-MM..YYYY-MM", param, ctx)
        return months

    def _forms(self) -> str:
        return "YYYY-MM eller YYYY-MM..YYYY-MM"

    def shell_complete(self, _: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The months with deliveries or files in the data root, the newest first; after `..` the last ones."""
        first, dots, last = incomplete.rpartition("..")
        data = root("REFUSION_DATA", "data")
        names = {path.name for form in ("raw/*/*", "udgaaende/*") for path in data.glob(form)}
        known = sorted(filter(MONTH.fullmatch, names), reverse=True)
        return [CompletionItem(f"{first}{dots}{month}") for month in known if month.startswith(last)]


class OneMonth(Months):
    """`YYYY-MM`, where only one month makes sense; a list of it."""

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> list[date]:
        """The month; a usage error if the text is several, or not the form."""
        months = super().convert(value, param, ctx)
        if ".." in value:
            self.fail(f"{value!r} er flere måneder; kommandoen tager een ad gangen, fx {months[-1]:%Y-%m}", param, ctx)
        return months

    def _forms(self) -> str:
        return "YYYY-MM"


def _meant(parts: Sequence[str]) -> str:
    """The question whether the user meant a month in the right form, if the text can be read as one."""
    found = [next(filter(None, (form.fullmatch(part.strip()) for form in ODD_MONTHS)), None) for part in parts]
    said = [f"{one['year']}-{int(one['month']):02}" if one and 1 <= int(one["month"]) <= 12 else "" for one in found]
    return f"; mente du {'..'.join(said)}?" if all(said) else ""


class Koder(click.ParamType[list[str]]):
    """Municipality codes with commas between, in any order: `706,630`."""

    name = "koder"

    def convert(self, value: str | list[str], param: click.Parameter | None, ctx: click.Context | None) -> list[str]:
        """The codes in order, each once; a usage error for what is not three digits, and for no code."""
        if isinstance(value, list):
            return value
        codes = sorted({part.strip() for part in value.split(",") if part.strip()})
        if not codes:
            self.fail("skriv mindst een kommune, fx 706,630", param, ctx)
        for code in codes:
            if not re.fullmatch("[0-9]{3}", code):
                self.fail(f"{code!r} er ikke en kommunekode; skriv tre cifre med komma imellem, fx 706,630", param, ctx)
        return codes

    def shell_complete(self, _: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The codes of the rules with the names of the municipalities; after a comma the others."""
        before, comma, last = incomplete.rpartition(",")
        path = root("REFUSION_REGLER", "rules") / "kommuner.csv"
        if not path.exists():
            return []
        with path.open(encoding="utf-8", newline="") as file:
            rows = {row["kommunekode"]: row["navn"] for row in csv.DictReader(file, delimiter=";")}
        taken = before.split(",")
        mine = [kode for kode in sorted(rows) if kode.startswith(last) and kode not in taken]
        return [CompletionItem(f"{before}{comma}{kode}", help=rows[kode]) for kode in mine]


class Tal(click.ParamType[int]):
    """A whole number."""

    name = "tal"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number; a usage error if it is none."""
        try:
            return int(value)
        except ValueError:
            self.fail(f"{value!r} er ikke et helt tal", param, ctx)


class Mappe(click.Path):
    """A folder that is there, or that can be made."""

    name = "mappe"

    def __init__(self) -> None:
        """A path that is no file."""
        super().__init__(file_okay=False, path_type=Path)
        self.name = "mappe"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The folder; a usage error if a file lies there."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            self.fail(f"{str(value)!r} er ikke en mappe, der kan bruges", param, ctx)


class Fil(click.Path):
    """A file that is there."""

    name = "fil"

    def __init__(self) -> None:
        """A path that is no folder."""
        super().__init__(exists=True, dir_okay=False, path_type=Path)
        self.name = "fil"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path; a usage error if no file lies there."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            self.fail(f"{str(value)!r} er ikke en fil, der kan læses", param, ctx)


class Valg(click.Choice[str]):
    """One of some words."""

    def get_invalid_choice_message(self, value: Any, ctx: click.Context | None) -> str:  # noqa: ARG002  by name
        """The words there are."""
        return f"{value!r} er ikke et af {', '.join(map(str, self.choices))}"


class Command(click.Command):
    """A command whose help and errors of use are Danish."""

    allow_extra_args = True

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """The arguments taken in; a usage error for those that are too many."""
        try:
            rest = super().parse_args(ctx, args)
        except click.BadOptionUsage as error:
            error.ctx = ctx  # the parser knows none, and what the option takes is asked of it
            raise
        if rest and not ctx.resilient_parsing:
            raise click.UsageError(f"for mange ord: {' '.join(rest)}", ctx)
        return rest

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """How the command is written."""
        _usage(self, ctx, formatter)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The options, each with its help."""
        _options(self, ctx, formatter)


class Group(click.Group):
    """Commands whose help and errors of use are Danish."""

    command_class = Command

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """How a command is written."""
        _usage(self, ctx, formatter)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The options, and below them the commands, each with the first words of its help."""
        _options(self, ctx, formatter)
        commands = {name: command for name in self.list_commands(ctx) if (command := self.get_command(ctx, name))}
        room = formatter.width - 6 - max(map(len, commands))
        with formatter.section("Kommandoer"):
            formatter.write_dl([(name, command.get_short_help_str(room)) for name, command in commands.items()])


def _usage(command: click.Command, ctx: click.Context, formatter: click.HelpFormatter) -> None:
    pieces = " ".join(command.collect_usage_pieces(ctx))
    for english, danish in (("[OPTIONS]", "[TILVALG]"), ("COMMAND [ARGS]...", "KOMMANDO [ORD]...")):
        pieces = pieces.replace(english, danish)
    formatter.write_usage(ctx.command_path, pieces, prefix="Brug: ")


def _options(command: click.Command, ctx: click.Context, formatter: click.HelpFormatter) -> None:
    """The options of a command, with Danish for the words that click adds; the option of help is the last."""
    rows = []
    for param in command.get_params(ctx):
        record = param.get_help_record(ctx)
        if record and param is command.get_help_option(ctx):
            record = (record[0], "Vis denne hjælp, og gør ikke andet.")
        if record and isinstance(param, click.Option):
            rows.append((_in_danish(record[0]), _in_danish(record[1])))
    with formatter.section("Tilvalg"):
        formatter.write_dl(rows)


def _in_danish(text: str) -> str:
    for english, danish in WORDS.items():
        text = text.replace(english, danish)
    return text


def misused(error: click.ClickException) -> Iterator[str]:
    """The lines that say how a command was written wrongly, and how it is written."""
    ctx = getattr(error, "ctx", None)
    if ctx is not None:
        yield ctx.get_usage()
        yield f"Hjælp: {ctx.command_path} --help"
    yield f"FEJL: {_why(error)}"


def _why(error: click.ClickException) -> str:
    """The fault in Danish: our own kinds of error have a Danish text, and click's are told by their kind."""
    if isinstance(error, (click.NoSuchOption, click.exceptions.NoSuchCommand)):
        option = isinstance(error, click.NoSuchOption)
        name = error.option_name if isinstance(error, click.NoSuchOption) else error.command_name
        meant = f"; mente du {' eller '.join(error.possibilities)}?" if error.possibilities else ""
        return f"{'tilvalget' if option else 'kommandoen'} {name} findes ikke{meant}"
    if isinstance(error, click.MissingParameter):
        return f"{_name(error)} mangler"
    if isinstance(error, click.BadParameter):
        return f"{_name(error)}: {error.message}"
    if isinstance(error, click.BadOptionUsage):
        mine = [p for p in error.ctx.command.params if error.option_name in p.opts] if error.ctx else []
        flag = any(isinstance(param, click.Option) and param.is_flag for param in mine)
        return f"tilvalget {error.option_name} {'tager ingen værdi' if flag else 'mangler en værdi'}"
    return error.format_message()


def _name(error: click.BadParameter) -> str:
    """The option as it is written, or the argument as the usage names it."""
    if error.param is None or error.ctx is None:
        return "et ord"
    return error.param.opts[0] if isinstance(error.param, click.Option) else error.param.make_metavar(error.ctx)


def wrong(message: str) -> NoReturn:
    """Stop the command in hand for how it was written: exit code 2, with its usage."""
    raise click.UsageError(message, click.get_current_context())
