"""Unregistered secrets are found by their context: each kind of secret in each spelling."""

from __future__ import annotations

import html
import json
import pprint
import time
import traceback
from collections.abc import Callable
from urllib.parse import quote, urlencode

import pydantic
import pytest
import requests
import yaml
from requests.auth import HTTPDigestAuth

from nomad_actors.logs.redaction import HIDDEN, hide_secrets, redact

NAMES = ("refresh_token", "refreshToken", "client_secret", "EVE_CLIENT_SECRET", "password", "passphrase", "x-api-key")
NAMES += ("credentials", "code_verifier", "POSTGRES_PASSWORD", "private_key", "new_password", "NOMAD_TOKEN_KEYS")
#: A token, a base64 key, a short password, one of digits with a slash.
VALUES = ("gEy-8fP2kq0aT1m4ZsBvXw", "c2VjcmV0+of/the/key1==", "hush7", "20931/8813")


class Form(pydantic.BaseModel):
    """A model that rejects its input."""

    n: int


def _refused_field(name: str, value: str) -> pydantic.ValidationError:
    model = pydantic.create_model("Login", **{name.replace("-", "_"): (int, ...)})
    with pytest.raises(pydantic.ValidationError) as raised:
        model.model_validate({name.replace("-", "_"): f"{value}x"})
    return raised.value


def _refused_form(name: str, value: str) -> pydantic.ValidationError:
    with pytest.raises(pydantic.ValidationError) as raised:
        Form.model_validate({"grant_type": "refresh_token", name: value})
    return raised.value


def _raised(text: str) -> str:
    try:
        raise RuntimeError(text)
    except RuntimeError:
        return traceback.format_exc()


def _form(name: str, value: str) -> dict[str, str]:
    # The value of the first pair is a secret's name.
    return {"grant_type": "refresh_token", name: value, "client_id": "nomad"}


def _request(name: str, value: str) -> requests.PreparedRequest:
    return requests.Request("POST", "http://sso/token", data=_form(name, value)).prepare()


Template = Callable[[str, str], str]
TEMPLATES: dict[str, Template] = {
    "dict": lambda n, v: repr(_form(n, v)),
    "nested dict": lambda n, v: repr({"request": {"data": [_form(n, v)]}}),
    "dict of bytes": lambda n, v: repr({n.encode(): v.encode()}),
    "last pair": lambda n, v: repr({n: v, "grant_type": "refresh_token"}),
    "JSON": lambda n, v: json.dumps(_form(n, v)),
    "compact JSON": lambda n, v: json.dumps(_form(n, v), separators=(",", ":")),
    "pretty JSON": lambda n, v: json.dumps(_form(n, v), indent=2),
    "JSON in JSON": lambda n, v: json.dumps({"body": json.dumps(_form(n, v))}),
    "JSON thrice": lambda n, v: json.dumps({"b": json.dumps({"b": json.dumps(_form(n, v))})}),
    "repr of JSON": lambda n, v: repr(json.dumps(_form(n, v))),
    "JSON in a URL": lambda n, v: f"/?data={quote(json.dumps(_form(n, v)))}",
    "JSON in a form": lambda n, v: urlencode({"data": json.dumps(_form(n, v))}),
    "JSON in HTML": lambda n, v: html.escape(json.dumps(_form(n, v))),
    "pprint": lambda n, v: pprint.pformat(_form(n, v), width=20),
    "YAML": lambda n, v: yaml.safe_dump(_form(n, v)),
    "flow YAML": lambda n, v: yaml.safe_dump(_form(n, v), default_flow_style=True, width=1000),
    "block YAML": lambda n, v: f"grant_type: refresh_token\n{n}: |\n  {v}\nnext: 1",
    "folded YAML": lambda n, v: f"{n}: >-\n  {v}\nnext: 1",
    "list in YAML": lambda n, v: f"{n}:\n  - {v}\n",
    "form": lambda n, v: urlencode(_form(n, v)),
    "form in a form": lambda n, v: urlencode({"body": urlencode(_form(n, v))}),
    "body of a prepared request": lambda n, v: repr(_request(n, v).body),
    "query": lambda n, v: f"GET /callback?{urlencode({n: v})}&state=x HTTP/1.1",
    "query of requests' error": lambda n, v: f"Max retries exceeded with url: /t?{n}={quote(v)} (Caused by x)",
    "urllib3's debug line": lambda n, v: f'http://sso:80 "POST /token?{urlencode(_form(n, v))} HTTP/1.1" 400 17',
    "tuples": lambda n, v: repr(list(_form(n, v).items())),
    "a tuple": lambda n, v: repr((n, v)),
    "lists": lambda n, v: json.dumps(list(map(list, _form(n, v).items()))),
    "list of headers in bytes": lambda n, v: repr([(b"host", b"x"), (n.encode(), v.encode())]),
    "name beside value": lambda n, v: json.dumps({"name": n, "value": v}),
    "value before name": lambda n, v: json.dumps([{"value": v, "name": n}, {"value": "x", "name": "y"}]),
    "value before name in Python": lambda n, v: repr({"input": v, "type": "x", "field": n}),
    "value before name in HTML": lambda n, v: f'<input value="{v}" name="{n}"><p>',
    "JSON of value before name": lambda n, v: json.dumps({"b": json.dumps({"value": v, "key": n})}),
    "part of a form": lambda n, v: f'--x\r\nContent-Disposition: form-data; name="{n}"\r\n\r\n{v}\r\n--x--',
    "repr of a part": lambda n, v: repr(f'form-data; name="{n}"\r\nContent-Type: text/plain\r\n\r\n{v}\r\n'.encode()),
    "nested part of a form": lambda n, v: f'name="user[{n}]"; filename="x"\r\n\r\n{v}\r\n--x--',
    "tag with attributes": lambda n, v: f"<{n} Type='http://x/#PasswordText' Nonce='1'>{v}</{n}>",
    "tag in a namespace": lambda n, v: f"<wsse:{n} Type='x'>{v}</wsse:{n}>",
    "confirmation": lambda n, v: urlencode({f"{n}_confirmation": v}),
    "confirmation in Python": lambda n, v: repr({f"{n}Confirm": v}),
    "repeat": lambda n, v: json.dumps({f"{n}-repeat": v}),
    "an HTML form": lambda n, v: f'<input type="hidden" name="{n}" value="{v}">',
    "XML": lambda n, v: f"<{n}>{v}</{n}>",
    "keyword": lambda n, v: f"Tokens(character_id=1, {n}={v!r}, x=2)",
    "keyword of a class": lambda n, v: f"Login({n}=SecretText({v!r}))",
    "logfmt": lambda n, v: f"level=info {n}={v} status=200",
    "quoted logfmt": lambda n, v: f'level=info {n}="{v}" status=200',
    "header": lambda n, v: f"Host: x\r\n{n}: {v}\r\nAccept: */*",
    "repr of headers": lambda n, v: repr(f"Host: x\r\n{n}: {v}\r\nAccept: */*"),
    "environment": lambda n, v: f"export {n}={v}",
    "environ": lambda n, v: f'os.environ["{n}"] = "{v}"',
    "INI": lambda n, v: f"[sso]\n{n} = {v}\n",
    "option": lambda n, v: f"program --{n} {v} --verbose",
    "option with =": lambda n, v: f"program --{n}={v} --verbose",
    "curl's form": lambda n, v: f"curl -d grant_type=refresh_token -d '{n}={v}' https://sso/token",
    "curl's JSON": lambda n, v: f"curl --json '{json.dumps(_form(n, v))}' https://sso/token",
    "curl's header": lambda n, v: f'curl -H "{n}: {v}" https://sso/token',
    "source": lambda n, v: f'    {n.replace("-", "_")} = "{v}"  # of the test',
    "source with a type": lambda n, v: f'    {n.replace("-", "_")}: str = "{v}"',
    "source of a call": lambda n, v: f'    sso.post(url, data={{"{n}": "{v}"}})',
    "comparison": lambda n, v: f"assert {n.replace('-', '_')} == {v!r}",
    "triple quotes": lambda n, v: f'{n.replace("-", "_")} = """{v}"""',
    "arrow": lambda n, v: f"{n} => {v}",
    "exception": lambda n, v: _raised(str(_form(n, v))),
    "exception in an exception": lambda n, v: repr(ValueError(repr(RuntimeError(json.dumps(_form(n, v)))))),
    "pydantic's error": lambda n, v: str(_refused_field(n, v)),
    "pydantic's errors": lambda n, v: repr(_refused_field(n, v).errors()),
    "pydantic's errors as JSON": lambda n, v: _refused_field(n, v).json(),
    "pydantic's error of a form": lambda n, v: str(_refused_form(n, v)),
    "cut off": lambda n, v: json.dumps(_form(n, v)).partition(v)[0] + v,
    "array": lambda n, v: f"form[{n}]={v}&x=1",
    "list": lambda n, v: json.dumps({n: [v, v]}),
    "mapping": lambda n, v: json.dumps({n: {"a": v, "b": {"c": [v]}}, "x": 1}),
}


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_labelled_secret_is_hidden_in_every_spelling(template: str) -> None:
    for name in NAMES:
        for value in VALUES:
            written = TEMPLATES[template](name, value)
            hidden = redact(written)
            for form in {value, quote(value), quote(value, safe=""), quote(quote(value, safe="")), value[-5:]}:
                assert form not in hidden, f"{written} -> {hidden}"
            assert redact(hidden) == hidden


X = "gEy-8fP2kq0aT1m4ZsBvXw"
PEM = f"-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n{X.replace('-', '+')}\n-----END PRIVATE KEY-----"


def _digest() -> str:
    auth = HTTPDigestAuth("user", "password")
    auth.init_per_thread_state()
    auth._thread_local.chal = {"realm": "r", "nonce": X, "qop": "auth", "opaque": X}
    return str(auth.build_digest_header("GET", "http://host/"))


HEADERS = {
    "Bearer": f"Bearer {X}",
    "Basic": "Basic Z0V5LThmUDJrcTBhVDFtNFpzQnZYdzo=",
    "Digest": _digest(),
    "AWS4": f"AWS4-HMAC-SHA256 Credential=AKIA{X}/20261129/eu/s3/aws4_request, SignedHeaders=host, Signature={X}{X}",
    "own scheme": f"Nomad {X}",
    "bare": X,
}
COOKIES = (f"session={X}", f"a=1; session={X}; b=2", f"a=1; b=2; nomad={X}", f"session={X}; Path=/; HttpOnly")
HEADER_TEMPLATES: dict[str, Template] = {
    "line": lambda n, v: f"{n}: {v}",
    "lines": lambda n, v: f"GET / HTTP/1.1\r\nHost: x\r\n{n}: {v}\r\nAccept: */*\r\n\r\n",
    "repr of lines": lambda n, v: repr(f"GET / HTTP/1.1\r\nHost: x\r\n{n}: {v}\r\nAccept: */*\r\n\r\n".encode()),
    "dict": lambda n, v: repr({"Host": "x", n: v}),
    "JSON": lambda n, v: json.dumps({"Host": "x", n: v}),
    "JSON in JSON": lambda n, v: json.dumps({"headers": json.dumps({n: v})}),
    "tuples": lambda n, v: repr([("Host", "x"), (n.lower(), v)]),
    "bytes": lambda n, v: repr([(b"host", b"x"), (n.encode(), v.encode())]),
    "curl": lambda n, v: f"curl -H '{n}: {v}' https://host/",
    "WSGI": lambda n, v: repr({f"HTTP_{n.upper().replace('-', '_')}": v}),
    "a server's warning": lambda n, v: f"Invalid request from ip=::1: Invalid HTTP Header: '{n}\t: {v}'",
    "a malformed header": lambda n, v: f"Invalid HTTP Header: {f'{n} : {v}'!r}",
    "logfmt": lambda n, v: f"level=warning {n.lower()}={json.dumps(v)} x=1",
}


@pytest.mark.parametrize("template", HEADER_TEMPLATES)
def test_a_header_with_credentials_is_hidden_completely(template: str) -> None:
    cases = [(name, value) for name in ("Authorization", "Proxy-Authorization") for value in HEADERS.values()]
    cases += [(name, cookie) for name in ("Cookie", "Set-Cookie") for cookie in COOKIES]
    cases += [(name, X) for name in ("X-Nomad-Token", "X-Auth-Token", "X-CSRF-Token", "X-Api-Key", "X-Auth")]
    for name, value in cases:
        written = HEADER_TEMPLATES[template](name, value)
        hidden = redact(written)
        for secret in (X, HEADERS["Basic"][6:-1], HEADERS["Digest"].split('response="')[1][:32]):
            assert secret not in hidden, f"{written} -> {hidden}"
        assert redact(hidden) == hidden
        assert "Accept" in hidden or "Accept" not in written


@pytest.mark.parametrize(
    "text",
    [
        *(HEADERS["Digest"], HEADERS["AWS4"], f"the header was {HEADERS['Digest']}"),
        *(f"AUTH {X}", f"AUTH default {X}", f"HELLO 3 AUTH default {X} SETNAME worker", f"('AUTH', 'default', '{X}')"),
        *(f"[b'AUTH', b'{X}']", f"*2\\r\\n$4\\r\\nAUTH\\r\\n$22\\r\\n{X}\\r\\n", f"*2\r\n$4\r\nAUTH\r\n$22\r\n{X}\r\n"),
        f'1339518083.107412 [0 127.0.0.1:60866] "AUTH" "default" "{X}"',
        f'1339518083.107412 [0 127.0.0.1:60866] "auth" "{X}"',
        f'1339518083.107412 [0 127.0.0.1:60866] "HELLO" "3" "AUTH" "default" "{X}"',
        *(f'"CONFIG" "SET" "requirepass" "{X}"', f"requirepass {X}", f"redis-server --requirepass {X} --port 1"),
        *(f"masterauth {X}", f"sentinel auth-pass mymaster {X}", f"ACL SETUSER worker on >{X} ~* +@all"),
        *(
            PEM,
            repr(PEM),
            json.dumps({"key": PEM}),
            json.dumps({"b": json.dumps({"key": PEM})}),
            PEM.partition("---END")[0],
        ),
        *(repr(PEM.splitlines()), f"NOMAD_KEY={PEM}", PEM.replace("PRIVATE KEY", "RSA PRIVATE KEY") + " and more"),
        *(f"curl -u nomad:{X} https://h/", f"curl --user 'nomad:{X}' https://h/", f"auth=('nomad', '{X}')"),
        *(f"cookies={{'a': '1', 'session': '{X}'}}", f"tokens=['{X}', '{X}']", f"{{'tokens': [{{'a': '{X}'}}]}}"),
        *(f"redis://:{X}@db:6379/0", f"redis://default:pa/{X}@db", f"postgresql://nomad:12/34{X}@db/nomad"),
        *(f"redis://:6379/{X}@db/0", f"rediss://u:{X}@h:1,redis://u:{X}@h:2", f"https://{X}@o1.ingest.sentry.io/1"),
        f"http://127.0.0.1:3000/x,redis://:{X}@db",
        *(f"GET /callback?code={X}&state=x", f"https://s3/?X-Amz-Credential=AK{X}&X-Amz-Signature={X}{X}"),
        *(f"NOMAD_TOKEN_KEYS=abc=,{X}=", f"NOMAD_TOKEN_KEYS={X}=, {X}= x", f"tokens={X},{X}", f"api_keys: {X}; {X}"),
        *(f"redis-cli -a {X} ping", f"redis-cli -h db -p 1 -a '{X}' ping", repr(["valkey-cli", "-h", "d", "-a", X])),
        *(f"redis-cli --pass {X}", f"redis-cli --pass '{X}'", repr(["redis-cli", "--pass", X]), f"x --pass={X}"),
        *(f"sshpass -p {X} ssh h", f"sshpass -p{X} ssh h", repr(["sshpass", "-p", X])),
        *(f"MIGRATE h 1 k 0 1 AUTH2 user {X}", f"'AUTH2', 'user', '{X}'", f"AUTH2\\r\\n$4\\r\\nuser\\r\\n$22\\r\\n{X}"),
        *(f"ALTER USER x PASSWORD '{X}'", f"CREATE ROLE x WITH LOGIN PASSWORD 'a {X}''{X}'", f"set password E'{X}'"),
        *(repr(f"""ALTER ROLE "x" PASSWORD '{X}'"""), f"wrong password '{X}'"),
        *(f"machine h login u password {X}", f"machine h\n  login u\n  password {X}\n", f"machine h password {X}"),
        *(f"login u password {X}", f"('refresh_token', 'expires', '{X}')", f'["id_token", "refresh_token", "{X}", 1]'),
        f"DefaultEndpointsProtocol=https;AccountName=n;AccountKey={X}==;EndpointSuffix=core",
        *(f"the refresh token {X} was refused", f"token: {X}", f"secret is {X}", f"\u0130 token={X}", f"X-Token: {X}"),
    ],
)
def test_a_secret_is_hidden_by_its_context(text: str) -> None:
    hidden = redact(text)
    assert HIDDEN in hidden
    assert X not in hidden
    assert X.replace("-", "+") not in hidden
    assert redact(hidden) == hidden


@pytest.mark.parametrize(
    "text",
    [
        *("redis-cli -a hush7! ping", "redis-cli --pass hush7!", "sshpass -p 'hush7!' ssh h", "AUTH2 user hush7!"),
        *("machine h login u password hush7!", "machine h\n  login u\n  password hush7!", "login u password hush7!"),
        *("machine h password hush7!", "ALTER USER x PASSWORD 'hush7!'", "password 'hush7!' was refused"),
    ],
)
def test_a_short_password_is_hidden_by_its_context(text: str) -> None:
    hidden = redact(text)
    assert HIDDEN in hidden
    assert "hush7" not in hidden
    assert redact(hidden) == hidden


@pytest.mark.parametrize(
    "text",
    [
        "token-refresh: 3 jobs completed",
        "http://127.0.0.1:3000/admin?mail=a@example.org, postgresql://nomad@db/nomad, redis://db:6379/0?client_name=a@b",
        "unknown job type 'token' (allowed: token-refresh)",
        "job 6f1c7c1e-1111-4222-8333-444455556666 of queue token-refresh ended too late",
        "WRONGPASS invalid username-password pair or user is disabled.",
        "NOAUTH Authentication required.",
        "client_secret=None, password=null, {'token': None}",
        "bypass=1 compass: north response=<Response [200]> response: 200 signature of f(x)",
        "the client secret, the password and the cookie are wrong; check EVE_CLIENT_ID and EVE_CLIENT_SECRET",
        "nomad token NAME --role viewer",
        "token_refreshes=4 tokens_per_second: 3",
        "{'grant_type': 'refresh_token', 'scope': 'publicData'}",
        "# login / password\n    login_i = 0",
        '{"name": "password", "x": 1}\n\nThe next paragraph',
        "login failed: password incorrect. x264 --pass 2; the login form password was empty",
        "the field password 'must be of 8 characters' oauth2 flow AUTH2 failed, redis-cli -h db ping",
        '<p>the password</p> {"name": "password", "label": "Password"}',
        '{"label": "x", "value": "shown"}, {"name": "password", "type": "text"}',
        "password_confirmation=None, passwordConfirm: null, tokens=7,queues=3",
        '"password"\n\nThe next paragraph',
    ],
)
def test_text_that_is_not_secret_is_unchanged(text: str) -> None:
    assert redact(text) == text


def test_the_form_of_a_token_request_keeps_its_names() -> None:
    form = {"grant_type": "refresh_token", "refresh_token": X, "client_id": "nomad"}
    assert redact(str(form)) == str({**form, "refresh_token": HIDDEN})
    assert redact(json.dumps(form)) == json.dumps({**form, "refresh_token": HIDDEN})
    assert redact(urlencode(form)) == f"grant_type=refresh_token&refresh_token={HIDDEN}&client_id=nomad"
    assert hide_secrets("", form) == {**form, "refresh_token": HIDDEN}


_NEARLY = (
    *("a-", "QUJD-REVG.", "eyJaaaaaaaa-", "<div class='a-b-c'>", "bearer ", "token ", "password='", 'password=\\"'),
    *("authorization=", "password ", "http://a:1,", "://a:1@", "://", "redis://a:1/", "-----BEGIN ", "-----BEGIN x!"),
    *("-----END", "cookie: a' 'cookie", "'cookie: a ", "auth=(", "tokens=[", "password={", "AUTH ", "'AUTH', "),
    *("AUTH\\r\\n$1", "setuser a ", "setuser a >", "-u a", "-u a:", "x-x-token", "digest a=", 'digest a="b", '),
    *("'password', 'a'", "'password', 'a': ", "'token'    ", "password\n  ", "password: str = ", "password=a,b"),
    *("'password' value", "'password', value ", "token is ", "secret is a", "password=\\\\\\\\'", 'password="""'),
    *("password%22%3A%22", "&quot;password&quot;", "password\t\\t", "cookie=a; ", "authorization: basic a="),
    *("nonce=a", "pass pass=", "[hidden]", "password=(((", "requirepass ", "auth-pass a", "\u0130token=", "?code="),
    *("auth ", "digest a=1,", "input_value=...", "input_value=........", "value=[name='token' ", "redis-cli "),
    *("machine ", "machine a login ", "login a password ", "redis-cli -a", "--pass ", "AUTH2 ", "'auth2' "),
    *("token_keys=a,", "token_keys=" + "a" * 16 + ",", "'token', 'a', ", "PASSWORD '", "PASSWORD 'a'", "<password a "),
    *('name="password"', 'value="name="password"', "value=[name='password' ", "value=%22name=%22password%22"),
    *('"password"\n\n', "password_repeat ", "<password a=' "),
    *('name="password"\nA: b\n', 'value="a" name="password">', "authorization:\\\\", "sshpass -p", "<a:password "),
)


@pytest.mark.parametrize("text", _NEARLY)
def test_the_time_for_almost_secrets_is_linear_in_their_number(text: str) -> None:
    long = "secret " + text * (100_000 // len(text.encode()))
    began = time.thread_time()
    redact(long)
    # A tenth of a second each on an idle machine; quadratic growth takes much longer.
    assert time.thread_time() - began < 1


def test_a_megabyte_is_searched_within_seconds() -> None:
    began = time.thread_time()
    redact("'token'    " * 90_000)
    # The most expensive of them; on an idle machine it takes about one second.
    assert time.thread_time() - began < 5
