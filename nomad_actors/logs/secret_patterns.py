r"""Finds secrets in a text by their context: names, headers, commands, and the form of some tokens.

One pass finds the *triggers* (a secret's name, a header's name, `-----BEGIN`); small patterns then read what follows
each trigger, matched only at that position. The time is linear in the text's length: nothing is read twice, and the
length of failed matches is bounded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache

from .secret_names import HEADER_NAMES, LONG_WORD, NAMES, SUFFIX, VAGUE_NAMES, looks_secret

Span = tuple[int, int]


def _any_of(names: tuple[str, ...]) -> str:
    return "|".join(name.replace(" ", "[-_ ]?") for name in sorted(names, key=len, reverse=True))


#: Beginnings of the triggers. Most positions in a text have none, and this check is much faster than trying a trigger.
_BEGINNINGS = (
    *sorted({name.split()[0] for name in (*NAMES, *VAGUE_NAMES, *HEADER_NAMES)}),
    *("-----begin", "--user", "-u", "--pass", "requirepass", "masterauth", "digest", "aws4", "setuser", "auth2"),
    *("redis", "valkey", "keydb", "sshpass", "machine", "login"),
)
# Matched on the text in lower case.
_TRIGGERS = re.compile(
    rf"""(?={"|".join(_BEGINNINGS)})(?:
    (?P<pem>-----begin\ )
  | (?P<header>(?:{_any_of(HEADER_NAMES)})[s2]?(?![a-z]))
  | (?P<directive>(?:requirepass|masterauth|auth-pass\s+\S{{1,60}}))
  | (?P<name>(?:{_any_of(NAMES)})(?:s?[-_]?{SUFFIX}(?![a-z0-9])|s(?![a-z])|))
  | (?P<vague>auth(?![a-z0-9])|(?:{_any_of(VAGUE_NAMES)})s?(?=['"\\`%&\]\s:=!>,$-])(?!\ (?!is\ )[a-z]{{1,15}}[\s.,;)]))
  | (?P<scheme>\b(?:digest|aws4-hmac-sha256)\s+(?=[a-z]{{2,20}}=))
  | (?P<login>(?<![\w-])(?:--user|-u)[\s=]+(?=\S{{1,100}}:))
  | (?P<acl>\bsetuser[\s'",]+(?=\S))
  | (?P<auth2>(?<!o)auth2(?=[\s'",\\]))
  | (?P<option>(?<![\w-])--pass(?:['"],\s?|[\s=]{{1,20}})(?=['"]?[^\s'"-][^\s'"]{{2}})
      |\b(?:redis|valkey|keydb)-cli\b[^\n|;]{{0,200}}?[\s'"]-a(?:['"],\s?|\s{{1,20}})
      |\bsshpass(?:['"],\s?['"]|\s{{1,20}})-p(?:['"],\s?|\s{{0,20}})
      |\bmachine\s{{1,20}}\S{{1,100}}\s{{1,20}}(?:login\s{{1,20}}\S{{1,100}}\s{{1,20}})?password\s{{1,20}}
      |\blogin\s{{1,20}}[^\s/,;:]{{1,100}}\s{{1,20}}password[ \t]{{1,20}}(?=[a-z]*[^a-z\s.,;:!?)]))
    )""",
    re.VERBOSE,
)

_BREAK = r"(?:\r?\n|(?:\\+r)?\\+n)"
_QUOTE = r"(?:\\*['\"`]|%22|%27|&quot;|&\#3[49];|&\#x27;)"
#: Between a name and its value: `=`, `:`, `=>`, `->`, a tag's `>`, an annotation; each may follow a closing quote.
_ASSIGNED = re.compile(
    rf"""{_QUOTE}{{0,2}}+\]{{0,2}}+(?:\s|\\+t){{0,20}}+
    (?: :\s?(?:str|bytes|Any|SecretStr|Optional\[\w+\])(?:\s\|\s\w+)?\s?=(?!=)
      | [:!=]?==?>? | -> | : | %3[dD] | %3[aA] | > )
    [ \t]{{0,50}}(?:[|>][+-]?(?=\s|\\+[rn]))?(?:{_BREAK}[ \t]{{1,50}}(?:-[ ])?)?
    (?:%20|\+(?=%22))?(?:%22|%27|&quot;|&\#3[49];)?""",
    re.VERBOSE,
)
_LISTED = re.compile(rf"{_QUOTE}\s{{0,20}}+,\s{{0,20}}+(?=b?\\*['\"])")
#: In a list that begins with a secret's name, a further word that looks like a secret.
_LISTED_LONG = re.compile(rf"{_QUOTE}\s{{0,20}}+,\s{{0,20}}+b?\\*['\"](?P<word>{LONG_WORD.pattern})(?={_QUOTE})")
#: Further values after the first one of a plural name: keys, which may end with `=`.
_MORE = re.compile(r"(?:[,;]\s{0,3}[\w.~+/%-]{16,}+={0,2}+(?![\w=:]))+")
#: What follows is a name and not a value.
_IS_NAME = re.compile(rf"{_QUOTE}?\s{{0,20}}(?:=>|:)")
#: A name that is itself the value of a field, next to its own value: `{{"name": …, "value": …}}`, pydantic's errors.
_BESIDE = re.compile(rf"{_QUOTE}[\s,)\]]{{0,4}}|\s{{0,4}}{_BREAK}\s{{1,4}}")
_BESIDE_VALUE = re.compile(rf"\b(?:value|input|input_value){_QUOTE}?\s?[:=]\s?|[\n]")
#: How far such a value may be from its name.
_BESIDE_CHARACTERS = 160
#: The text before a name that is a value, and the secret before that: `value="…" name="password"`.
_NAMED = re.compile(rf"\b(?:name|key|field|header|parameter|variable){_QUOTE}?\s?[:=]\s?{_QUOTE}[\w.-]{{0,40}}$")
_VALUE_BEFORE = re.compile(rf"\b(?:value|input){_QUOTE}?\s?[:=]\s?")
_NEXT_OBJECT = re.compile(r"[{}<>]")
#: Around a name in a multipart form, up to the part's value; around a tag's name; an SQL string after a name.
_PART_NAME = re.compile(rf"\bname={_QUOTE}[\w.\[-]{{0,40}}$")
_PART = re.compile(
    rf"\]{{0,2}}{_QUOTE}(?:;[^\r\n\\]{{0,100}})?(?:{_BREAK}[\w-]{{1,40}}:[^\r\n\\]{{0,100}}){{0,3}}{_BREAK}{_BREAK}"
)
_TAG, _ATTRIBUTES = re.compile(r"<[\w:.-]*"), re.compile(r"\s[^<>\n]{1,200}(?<!/)>")
_SQL_TEXT = re.compile(r"\s{1,4}[eE]?\\*'(?P<text>(?:[^'\n]|'')*+)")
_OPTION = re.compile(r"[ \t]+(?=[^\s-])")
_WORDS = re.compile(rf"[ \t]+(?:is )?(?={LONG_WORD.pattern})")

_OPENING = re.compile(
    r"(?:[A-Za-z_][\w.]{0,40}\()?(?P<start>[bBrRuUfF]{0,2}(?P<quote>\\*(?:'''|\"\"\"|['\"`]))|[\[({])"
)
_QUOTED = {
    "'": re.compile(r"[^'\\\n]*(?:\\.[^'\\\n]*)*"),
    '"': re.compile(r'[^"\\\n]*(?:\\.[^"\\\n]*)*'),
    "`": re.compile(r"[^`\n]*"),
}
_QUOTES = frozenset("'\"")
_QUOTE_BEGINS = frozenset("\\'\"`%&")
#: JSON nested four times has fifteen.
_MOST_BACKSLASHES = 31
_BRACKETS = re.compile(r"'(?:[^'\\\n]|\\.){0,400}'|\"(?:[^\"\\\n]|\\.){0,400}\"|[\[({]|[\])}]")
#: An unquoted value ends at a space, a quote or a bracket, and at a comma or semicolon before another name or the end.
_BARE = re.compile(r"(?:[^\s\\'\"`&,;<>})\]]|[,;](?=[^\s,;'\"\\&<>})\]])(?![\w.-]{1,60}[=:]))+")
_LONG = re.compile(r"[\w.~+/=%-]{16,}")
_NOTHING = re.compile(r"(?:none|null|true|false|\[hidden\]|nil|undefined)(?![\w-])", re.IGNORECASE)

_SCHEMES = re.compile(r"(?:basic|bearer|token|negotiate)\s+(?=[^\s=]+={0,2}(?:[\s'\",;)\]}\\]|$))", re.IGNORECASE)
_CREDENTIALS = re.compile(r"[^\s'\",;)\]}\\]+")
_HEADER_END = re.compile(r"\r|\n|(?<!\\)\\++[rn]|$")
_COOKIE_PAIRS = re.compile(r"[^\s;,'\"\\]+(?:;\s?[^\s;,'\"\\]+)*")
_PARAMETERS = re.compile(r"(?:,?\s{0,3}[A-Za-z][\w-]{0,30}\s?=\s?(?:\\*\"[^\"\\\n]*\\*\"|[^\s,'\"\\]*))+")
_CUSTOM_HEADER = re.compile(r"(?:[^:=]*['\"\s\\n{,])?[Xx]-(?:[\w-]*-)?")
_UNLABELLED_HEADER = re.compile(r"\s{1,3}(?=[\w-]{1,60}=)")

_ARGUMENT = (
    r"(?:[\s,]|\\+[rn]|\$\d{1,9}(?:\\r\\n|\r\n)|b(?=['\"]))*(?:\\*\"[^\"\\\n]*\\*\"|\\*'[^'\\\n]*\\*'|[^\s'\",;)\]\\]+)"
)
_COMMAND = re.compile(rf"['\"\\]{{0,3}}(?=[\s,]|\\+r)(?P<arguments>{_ARGUMENT}(?:{_ARGUMENT})?)")
_NO_ARGUMENT = re.compile(r"[\s,'\"]*(?:failed|failure|error|required|command|called|method|is|was|and|or)\b", re.I)
_ACL_PASSWORD = re.compile(r"[^>\n]{0,120}+>(?P<password>[^\s'\"]+)")

_DIRECTIVE_GAP = re.compile(r"['\"\\]{0,3}[\s,=:]+")
_PEM_NEXT = re.compile(r"-----(?:(?P<end>END)[^-]{0,80}(?:-----)?|BEGIN )")
_PEM_CUT = re.compile(r"[A-Za-z0-9+/=\s\\:,.-]*")


def find_secrets(text: str) -> Iterator[Span]:
    """Yield the spans of secrets in text order; they may overlap."""
    lower = _lower(text)
    at, last = 0, (0, 0)
    while found := _TRIGGERS.search(lower, at):
        if last[0] <= found.start() < last[1]:
            # Inside a value that was found next to its name.
            at = last[1]
            continue
        kind = found.lastgroup or ""
        span, at = _FINDERS[kind](text, found.start(), found.end())
        if span is not None and span[1] > span[0]:
            last = span
            yield span


def _lower(text: str) -> str:
    """Return the text in lower case with every position unchanged: some characters have a longer lower case."""
    lower = text.lower()
    return lower if len(lower) == len(text) else "".join(c.lower() if c.isascii() else c for c in text)


def _after_name(text: str, start: int, end: int) -> tuple[Span | None, int]:
    if before := _value_before(text, start, end):
        return before, end
    if assigned := _ASSIGNED.match(text, end):
        span = _value(text, assigned.end())
        return _ended(_with_more(text, span) if text[end - 1] in "sS" else span, end)
    return _otherwise(text, start, end)


def _with_more(text: str, span: Span | None) -> Span | None:
    more = _MORE.match(text, span[1]) if span else None
    return (span[0], more.end()) if span and more else span


def _after_vague_name(text: str, start: int, end: int) -> tuple[Span | None, int]:
    word = text[start:end]
    if word.lower() == "auth" and (found := _command(text, start, end)):
        return _ended(found, end)
    if _is_part_of_a_word(text, start, word):
        return None, end
    if text.startswith("-", start - 1) and _CUSTOM_HEADER.fullmatch(_word_before(text, start).lstrip("'\"")):
        return _after_header(text, start, end)
    assigned = _ASSIGNED.match(text, end)
    quoted = text[start - 1 : start] in _QUOTES and text[end : end + 1] in "'\"\\"
    if quoted and (before := _value_before(text, start, end)):
        return before, end
    if assigned is not None:
        at = assigned.end()
        opening = _OPENING.match(text, at)
        if quoted or (opening and opening["quote"] is None and word.lower() in ("auth", "tokens")):
            return _ended(_value(text, at), end)
        at = opening.end() if opening else at
        long = _span_of(_LONG, text, at)
        return _ended(_with_more(text, long) if text[end - 1] in "sS" else long, end)
    if word.lower().startswith("token") or quoted:
        return _otherwise(text, start, end)
    return None, end


def _is_part_of_a_word(text: str, start: int, word: str) -> bool:
    """Return whether a short name is only the end of another word, as in `bypass`, and not a word of its compound."""
    before = text[start - 1 : start]
    if not before.isalnum() or text[max(0, start - 2) : start] in ("\\n", "\\r", "\\t"):
        return False
    return not (word[0].isupper() and before.islower()) and not word.lower().startswith("token")


def _word_before(text: str, start: int) -> str:
    """Return the text between the last space and a name, at most 40 characters."""
    return text[max(0, start - 40) : start].rpartition(" ")[2]


def _otherwise(text: str, start: int, end: int) -> tuple[Span | None, int]:
    """Find the value of a name without an assignment: in a pair, next to it, after an option or in a sentence."""
    listed = _LISTED.match(text, end)
    span = _value(text, listed.end()) if listed else None
    if span and not _IS_NAME.match(text, span[1]):
        long = _LISTED_LONG.match(text, span[1])
        if long and looks_secret(long["word"]) and not _IS_NAME.match(text, long.end()):
            span = span[0], long.end()
        return span, span[1]
    if within := _in_a_form(text, start, end):
        return _ended(within, end)
    if _word_before(text, start).startswith("--") and (option := _OPTION.match(text, end)):
        return _ended(_value(text, option.end()), end)
    if words := _WORDS.match(text, end):
        return _ended(_value(text, words.end()), end)
    if beside := _BESIDE.match(text, end):
        found = _BESIDE_VALUE.search(text, beside.end(), beside.end() + _BESIDE_CHARACTERS)
        # Continue after the name: the text between the two may contain other secrets.
        return _value(text, found.end()) if found and found[0] != "\n" else None, end
    return None, end


def _in_a_form(text: str, start: int, end: int) -> Span | None:
    """Find the value after a tag with attributes, in a part of a form, or after SQL's `PASSWORD`."""
    tag = text.rfind("<", max(0, start - 60), start)
    if tag >= 0 and _TAG.fullmatch(text, tag, start) and (attributes := _ATTRIBUTES.match(text, end)):
        return _value(text, attributes.end())
    if (part := _PART.match(text, end)) and _PART_NAME.search(text[max(0, start - 60) : start]):
        return part.end(), _line_of_header(text, part.end(), len(text))
    quoted = _SQL_TEXT.match(text, end) if text[start : start + 5].lower() == "passw" else None
    # In lower case it may be a sentence.
    return quoted.span("text") if quoted and (text[start:end].isupper() or " " not in quoted["text"]) else None


def _value_before(text: str, start: int, end: int) -> Span | None:
    """Find the value of a name that is itself a value, if it comes before the name and not after it."""
    # Only for a name that is the value of a field that names another: `name="password"`.
    if text[end : end + 1] not in _QUOTE_BEGINS or not _NAMED.search(text[max(0, start - 80) : start]):
        return None
    after = _BESIDE_VALUE.search(text, end, end + _BESIDE_CHARACTERS)
    if after and after[0] != "\n" and not _NEXT_OBJECT.search(text, end, after.start()):
        return None
    # Only this much is read, even if a bracket opens in it: the time stays bounded.
    offset = max(0, start - _BESIDE_CHARACTERS)
    before = text[offset:start]
    found = [each.end() for each in _VALUE_BEFORE.finditer(before)]
    span = _value(before, found[-1]) if found else None
    if span is None or _NEXT_OBJECT.search(before, span[1]) or not _NAMED.search(before, span[1]):
        return None
    return span[0] + offset, span[1] + offset


def _ended(span: Span | None, end: int) -> tuple[Span | None, int]:
    return span, max(end, span[1]) if span else end


def _value(text: str, at: int) -> Span | None:
    """Return the span of the value that begins at `at`, without its quotes."""
    if _NOTHING.match(text, at):
        return None
    opening = _OPENING.match(text, at)
    if opening is None:
        bare = _BARE.match(text, at)
        return bare.span() if bare else None
    quote, begin = opening["quote"], opening.end()
    if quote is None:
        return begin, _bracket_end(text, begin - 1)
    if quote[0] == "\\":
        return _span_of(_escaped(min(len(quote) - 1, _MOST_BACKSLASHES), quote[-1]), text, begin)
    if len(quote) == 3:
        ends = (text.find(quote, begin, begin + 4096), text.find("\n", begin), len(text))
        return begin, next(end for end in ends if end >= 0)
    return _span_of(_QUOTED[quote], text, begin)


@cache
def _escaped(backslashes: int, quote: str) -> re.Pattern[str]:
    """Return the pattern of a nested quoted text, which ends at a quote with this number of backslashes before it."""
    return re.compile(rf"(?:[^{quote}\\\n]|\\+(?![\\{quote}])|\\{{{backslashes + 1},}}{quote})*+")


def _span_of(pattern: re.Pattern[str], text: str, at: int) -> Span | None:
    found = pattern.match(text, at)
    return found.span() if found else None


def _bracket_end(text: str, at: int) -> int:
    """Return where the bracket at `at` is closed, or the end of the search if it is not."""
    limit, depth = min(len(text), at + 4096), 0
    for found in _BRACKETS.finditer(text, at, limit):
        if found[0] in "[({":
            depth += 1
        elif found[0] in "])}":
            depth -= 1
            if depth <= 0:
                return found.start()
    return limit


def _after_header(text: str, start: int, end: int) -> tuple[Span | None, int]:
    assigned = _ASSIGNED.match(text, end) or _UNLABELLED_HEADER.match(text, end)
    if assigned is None:
        return _otherwise(text, start, end)
    at = assigned.end()
    if _OPENING.match(text, at):
        return _ended(_value(text, at), end)
    if scheme := _SCHEMES.match(text, at):
        return _ended(_span_of(_CREDENTIALS, text, scheme.end()), end)
    if "=" in assigned[0] and (pairs := _COOKIE_PAIRS.match(text, at)):
        stop = pairs.end()
        if parameters := _PARAMETERS.match(text, stop):
            stop = parameters.end()
        return _ended((at, stop), end)
    return _ended((at, _header_end(text, start, at)), end)


def _header_end(text: str, start: int, at: int) -> int:
    """Return where a header's value ends: at the end of its line, or at the quote that also precedes its name."""
    quote = text[start - 1 : start]
    closing = text.find(quote, at) if quote and quote in "'\"`" else -1
    return _line_of_header(text, at, closing if closing >= 0 else len(text))


def _line_of_header(text: str, at: int, limit: int) -> int:
    found = _HEADER_END.search(text, at, limit)
    return found.start() if found else limit


def _command(text: str, start: int, end: int) -> Span | None:
    """Return the span of the arguments of Redis's AUTH, or of AUTH2 in its MIGRATE."""
    quoted = text[start - 1 : start] in _QUOTES and text[end : end + 1] in ("'", '"', "\\")
    if not (text[start:end] in ("AUTH", "AUTH2") or quoted) or _is_part_of_a_word(text, start, "auth"):
        return None
    found = _COMMAND.match(text, end)
    if found is None or _NO_ARGUMENT.match(text, end) or _IS_NAME.match(text, end):
        return None
    begin = found.start("arguments")
    return begin + len(found["arguments"]) - len(found["arguments"].lstrip()), found.end()


def _after_setuser(text: str, _start: int, end: int) -> tuple[Span | None, int]:
    found = _ACL_PASSWORD.match(text, end)
    return _ended(found.span("password") if found else None, end)


def _after_login(text: str, _start: int, end: int) -> tuple[Span | None, int]:
    colon = text.index(":", end)
    return _ended(_span_of(_CREDENTIALS, text, colon + 1), end)


def _after_pem(text: str, start: int, end: int) -> tuple[Span | None, int]:
    closing = _PEM_NEXT.search(text, end)
    if closing is not None and closing["end"]:
        return (start, closing.end()), closing.end()
    # The block was cut: hide everything that looks like a part of it.
    cut = _PEM_CUT.match(text, end, closing.start() if closing else len(text))
    return _ended((start, cut.end() if cut else end), end)


def _after_directive(text: str, _start: int, end: int) -> tuple[Span | None, int]:
    gap = _DIRECTIVE_GAP.match(text, end)
    return _ended(_value(text, gap.end()) if gap else None, end)


_FINDERS: dict[str, Callable[[str, int, int], tuple[Span | None, int]]] = {
    "pem": _after_pem,
    "header": _after_header,
    "name": _after_name,
    "vague": _after_vague_name,
    "scheme": lambda text, _start, end: _ended(_span_of(_PARAMETERS, text, end), end),
    "login": _after_login,
    "acl": _after_setuser,
    "auth2": lambda text, start, end: _ended(_command(text, start, end), end),
    "option": lambda text, _start, end: _ended(_value(text, end), end),
    "directive": _after_directive,
}
