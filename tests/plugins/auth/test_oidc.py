"""Tokens of an issuer that is a real one, if tiny: it serves its discovery document and its keys on loopback."""

from __future__ import annotations

import base64
import hmac
import importlib.util
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import jwt
import pytest
import voluptuous as vol
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from multidict import CIMultiDict

from core.testing import ManualClock, StartPlantroom
from plugins.auth.config import SCHEMA
from plugins.auth.oidc.issuer import COOL_DOWN_S, DISCOVERY, FRESH_FOR_S

from .house import House, OpenHouse

AUDIENCE = "plantroom"
ALGORITHMS: Mapping[str, Any] = {
    "RS256": RSAAlgorithm,
    "PS256": RSAAlgorithm,
    "ES256": ECAlgorithm,
    "EdDSA": OKPAlgorithm,
}


def private_key(algorithm: str) -> Any:
    if algorithm == "ES256":
        return ec.generate_private_key(ec.SECP256R1())
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    return rsa.generate_private_key(65537, 2048)


class TinyIssuer:
    """Signs tokens, and tells which keys it signs with."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.private: dict[str, tuple[str, Any]] = {}
        self.listed: dict[str, dict[str, Any]] = {}
        self.asked: list[str] = []
        self.broken: web.Response | None = None
        app = web.Application()
        app.router.add_get(DISCOVERY, self._discovery)
        app.router.add_get("/keys", self._keys)
        self.server = TestServer(app)

    @property
    def url(self) -> str:
        return str(self.server.make_url("")).rstrip("/")

    def add_key(self, key_id: str, algorithm: str = "RS256", **fields: Any) -> None:
        private = private_key(algorithm)
        public = json.loads(ALGORITHMS[algorithm].to_jwk(private.public_key()))
        self.private[key_id] = algorithm, private
        self.listed[key_id] = {**public, "kid": key_id, "use": "sig", **fields}

    def token(self, key_id: str = "one", *, headers: Mapping[str, Any] | None = None, **claims: Any) -> str:
        algorithm, private = self.private[key_id]
        return jwt.encode(self.claims(**claims), private, algorithm, headers={"kid": key_id, **(headers or {})})

    def claims(self, **claims: Any) -> dict[str, Any]:
        now = int(self.clock.utc())
        every = {
            "iss": self.url, "aud": AUDIENCE, "sub": "u-1", "preferred_username": "ada", "iat": now, "exp": now + 300,
            "realm_access": {"roles": ["staff"]}, **claims,
        }  # fmt: skip
        return {name: value for name, value in every.items() if value is not None}

    async def _discovery(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        return self.broken or web.json_response({"issuer": self.url, "jwks_uri": f"{self.url}/keys"})

    async def _keys(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        return self.broken or web.json_response({"keys": list(self.listed.values())})


@pytest.fixture
async def issuer(clock: ManualClock) -> AsyncIterator[TinyIssuer]:
    made = TinyIssuer(clock)
    await made.server.start_server()
    made.add_key("one")
    yield made
    await made.server.close()


def yaml(issuer: TinyIssuer, more: str = "") -> str:
    return (
        f"plugins: {{auth: {{oidc: {{issuer: '{issuer.url}', audience: {AUDIENCE}, claim: realm_access.roles, "
        f"roles: {{building-admins: admin, operators: operator, staff: viewer}}{more}}}}}}}"
    )


@pytest.fixture
async def guarded(open_house: OpenHouse, issuer: TinyIssuer) -> House:
    return await open_house(yaml(issuer, ", algorithms: [RS256, PS256, ES256, EdDSA]"))


async def status(house: House, token: str, path: str = "/api/v1/devices") -> int:
    return (await house.ask("GET", path, headers={"Authorization": f"Bearer {token}"})).status


async def me(house: House, token: str) -> Any:
    return (await house.ask("GET", "/api/v1/auth/me", headers={"Authorization": f"Bearer {token}"})).json


async def test_a_token_says_who_it_is_and_what_they_may_do(guarded: House, issuer: TinyIssuer) -> None:
    said = await me(guarded, issuer.token(realm_access={"roles": ["staff", "unknown", "operators"]}))
    assert (said["id"], said["name"], said["kind"], said["role"]) == ("token:u-1", "ada", "token", "operator")
    named = await me(
        guarded, issuer.token(preferred_username=None, email=None, realm_access={"roles": "building-admins"})
    )
    assert (named["name"], named["role"]) == ("u-1", "admin")
    assert await status(guarded, issuer.token(), "/api/v1/auth/users") == 403
    assert issuer.asked == [DISCOVERY, "/keys"]
    assert guarded.plugin.failures["key"] == 0


@pytest.mark.parametrize(
    "claims", [{"realm_access": None}, {"realm_access": {"roles": [7, "x"]}}, {"realm_access": "x"}]
)
async def test_a_token_without_a_role_of_ours_may_do_nothing(
    guarded: House, issuer: TinyIssuer, claims: dict[str, Any]
) -> None:
    headers = {"Authorization": f"Bearer {issuer.token(**claims)}"}
    for _ in range(2):
        answer = await guarded.ask("GET", "/api/v1/devices", headers=headers)
        assert (answer.status, answer.json["code"]) == (403, "auth.forbidden")


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "EdDSA"])
async def test_each_algorithm_that_is_allowed_is_taken(guarded: House, issuer: TinyIssuer, algorithm: str) -> None:
    issuer.add_key("other", algorithm)
    assert await status(guarded, issuer.token("other")) == 200


def unsigned(header: Mapping[str, Any], claims: Mapping[str, Any]) -> str:
    parts = (base64.urlsafe_b64encode(json.dumps(each).encode()).rstrip(b"=").decode() for each in (header, claims))
    return ".".join([*parts, ""])


def shared_secret(secret: bytes, header: Mapping[str, Any], claims: Mapping[str, Any]) -> str:
    """Sign with what everybody knows, as if it were a secret (RFC 8725, 2.1)."""
    signed = unsigned(header, claims).removesuffix(".")
    mac = base64.urlsafe_b64encode(hmac.digest(secret, signed.encode(), "sha256")).rstrip(b"=").decode()
    return f"{signed}.{mac}"


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://evil.example"}, {"iss": None}, {"aud": "another"}, {"aud": None}, {"sub": None}, {"sub": 7},
        {"exp": None}, {"exp": 1}, {"exp": "soon"}, {"nbf": 1_700_000_100}, {"iat": 1_700_000_100}, {"nbf": True},
    ],
)  # fmt: skip
async def test_a_token_that_is_not_for_us_or_not_for_now_is_refused(
    guarded: House, issuer: TinyIssuer, claims: dict[str, Any]
) -> None:
    algorithm, private = issuer.private["one"]
    payload = json.dumps(issuer.claims(**claims)).encode()  # jwt.encode itself refuses to write some of these
    token = jwt.api_jws.encode(payload, private, algorithm, headers={"kid": "one"})
    assert await status(guarded, token) == 401
    assert guarded.plugin.failures["token"] >= 1


async def test_forged_signatures_are_refused_in_every_form(guarded: House, issuer: TinyIssuer) -> None:
    good = issuer.token()
    header, claims, signature = good.split(".")
    issuer.private["stranger"] = "RS256", private_key("RS256")
    secret = json.dumps(issuer.listed["one"])  # the public key, taken for a shared secret
    admin = issuer.claims(realm_access={"roles": ["building-admins"]})
    swapped = unsigned({}, admin).split(".")[1]
    for token in (
        f"{header}.{claims}.{signature[:-4]}AAAA",
        f"{header}.{swapped}.{signature}",
        f"{header}.{claims}.",
        unsigned({"alg": "none", "kid": "one"}, admin),
        unsigned({"alg": "RS256", "kid": "one"}, admin),
        unsigned({"alg": "RS256", "kid": 7}, admin),
        shared_secret(secret.encode(), {"alg": "HS256", "kid": "one"}, admin),
        issuer.token("stranger", headers={"kid": "one"}),
        "a.b.c",
        "..",
    ):
        assert await status(guarded, token) == 401
    assert await status(guarded, good) == 200


async def test_a_token_is_good_until_it_ends_and_the_clocks_may_differ_a_little(
    guarded: House, issuer: TinyIssuer, clock: ManualClock
) -> None:
    token = issuer.token(exp=int(clock.utc()) + 60, iat=int(clock.utc()) + 20)
    assert await status(guarded, token) == 200
    await clock.advance(89)
    assert await status(guarded, token) == 200
    await clock.advance(2)
    assert await status(guarded, token) == 401
    assert issuer.asked == [DISCOVERY, "/keys"]


async def test_keys_are_fetched_again_when_they_were_rotated_and_not_for_each_token_that_says_so(
    guarded: House, issuer: TinyIssuer, clock: ManualClock
) -> None:
    old = issuer.token()
    assert await status(guarded, old) == 200
    issuer.add_key("two", "ES256")
    assert await status(guarded, issuer.token("two")) == 401
    await clock.advance(COOL_DOWN_S)
    assert await status(guarded, issuer.token("two")) == 200
    fetched = len(issuer.asked)
    issuer.private["unlisted"] = "RS256", private_key("RS256")
    for _ in range(5):
        assert await status(guarded, issuer.token("unlisted")) == 401
    assert len(issuer.asked) == fetched
    del issuer.listed["one"]
    token = issuer.token(exp=int(clock.utc() + 2 * FRESH_FOR_S))
    assert await status(guarded, token) == 200
    await clock.advance(FRESH_FOR_S)
    assert await status(guarded, token) == 401


async def test_while_the_issuer_is_away_its_keys_stay_good(
    open_house: OpenHouse, issuer: TinyIssuer, clock: ManualClock
) -> None:
    guarded = await open_house(yaml(issuer))
    issuer.broken = web.Response(status=500)
    answer = await guarded.ask("GET", "/api/v1/devices", headers={"Authorization": f"Bearer {issuer.token()}"})
    assert (answer.status, answer.json["code"]) == (503, "auth.issuer_away")
    assert await guarded.with_key(guarded.key) == 200
    issuer.broken = None
    assert await status(guarded, issuer.token()) == 503
    await clock.advance(COOL_DOWN_S)
    token = issuer.token(exp=int(clock.utc() + 3 * FRESH_FOR_S))
    assert await status(guarded, token) == 200
    issuer.broken = web.Response(status=302, headers={"Location": "https://evil.example/"})
    await clock.advance(FRESH_FOR_S + COOL_DOWN_S)
    assert await status(guarded, token) == 200
    assert len(guarded.running.logged("issuer_away")) == 2
    assert len(guarded.running.logged("issuer_back")) == 1


@pytest.mark.parametrize(
    "said",
    [
        b"no json", b"[]", b'{"keys": 7}', b'{"keys": [7]}', b'{"issuer": "https://evil.example", "jwks_uri": "x"}',
        b"[" + b" " * 1_100_000 + b"]",
    ],
)  # fmt: skip
async def test_an_issuer_that_answers_nonsense_is_away(guarded: House, issuer: TinyIssuer, said: bytes) -> None:
    issuer.broken = web.Response(body=said, content_type="application/json")
    assert await status(guarded, issuer.token()) == 503


async def test_the_keys_may_be_named_without_discovery_and_a_single_key_needs_no_id(
    open_house: OpenHouse, issuer: TinyIssuer
) -> None:
    house = await open_house(yaml(issuer, f", jwks_url: '{issuer.url}/keys'"))
    algorithm, private = issuer.private["one"]
    assert await status(house, jwt.encode(issuer.claims(), private, algorithm)) == 200
    assert issuer.asked == ["/keys"]
    issuer.listed["broken"] = {"kty": "RSA", "kid": "broken"}
    assert await status(house, jwt.encode(issuer.claims(), private, "RS512", headers={"kid": "one"})) == 401


@pytest.mark.parametrize("fields", [{"alg": "PS256"}, {"kty": "EC"}, {"n": "!"}])
async def test_a_key_is_used_only_as_the_issuer_says(
    guarded: House, issuer: TinyIssuer, fields: dict[str, str]
) -> None:
    issuer.listed["one"] |= fields
    assert await status(guarded, issuer.token()) == 401


async def test_keys_and_sessions_go_their_own_ways_beside_tokens(guarded: House, issuer: TinyIssuer) -> None:
    both = {"X-API-Key": guarded.key, "Authorization": f"Bearer {issuer.token()}"}
    assert (await guarded.ask("GET", "/api/v1/auth/me", headers=both)).json["kind"] == "key"
    wrong = {"X-API-Key": "wrong", "Authorization": f"Bearer {issuer.token()}"}
    assert (await guarded.ask("GET", "/api/v1/auth/me", headers=wrong)).status == 401
    assert await status(guarded, guarded.key) == 200
    assert await status(guarded, "wrong") == 401
    twice = CIMultiDict([("Authorization", f"Bearer {issuer.token()}"), ("Authorization", "Bearer another")])
    assert (await guarded.ask("GET", "/api/v1/auth/me", headers=twice)).status == 401


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(st.from_regex(r"[!-~]{0,40}(\.[!-~]{0,40}){0,4}", fullmatch=True))
async def test_no_token_is_more_than_refused(guarded: House, token: str) -> None:
    assert await status(guarded, token) == 401


@pytest.mark.parametrize(
    "options",
    [
        {"issuer": "http://login.example"}, {"issuer": "login"}, {"roles": {}}, {"roles": {"x": "king"}},
        {"algorithms": ["HS256"]}, {"algorithms": ["none"]}, {"algorithms": []}, {"leeway": -1},
    ],
)  # fmt: skip
def test_options_that_would_take_anybodys_tokens_are_refused(options: dict[str, Any]) -> None:
    good = {"issuer": "https://login.example/x", "audience": "plantroom", "roles": {"staff": "viewer"}}
    vol.Schema(SCHEMA)({"oidc": good})
    with pytest.raises(vol.Invalid):
        vol.Schema(SCHEMA)({"oidc": good | options})


async def test_without_its_library_the_plugin_says_what_to_install(
    plantroom: StartPlantroom, issuer: TinyIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "jwt" else find(name, *more))
    running = await plantroom(yaml(issuer))
    assert "pip install 'plantroom[oidc]'" in str(running.plugin("auth").error)
    assert (await running.api.get("/api/v1/devices")).status == 503
