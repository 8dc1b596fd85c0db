"""TLS with Redis and its Sentinels: the files it needs, connections that verify, and the meaning of each failure.

Wrong settings (a file, a CA, a name, one side without TLS) are a ``ConfigurationError``; a server that refuses us is an
``AccessDenied``; a certificate that is not valid yet, or no longer, makes a server unavailable, so that the database
serves.
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from redis.sentinel import SentinelManagedConnection

from checkout_cli.config.addresses import address_text
from checkout_cli.config.trusted_file import at_home
from checkout_cli.errors import AccessDenied, CheckoutError, ConfigurationError, RedisUnavailable, causes
from checkout_cli.store.redis.bounded import BoundedConnection
from checkout_cli.store.resolver import Deadline
from checkout_cli.typed import typed

if TYPE_CHECKING:
    from checkout_cli.config.settings import Settings

HANDSHAKE_SHARE = 0.7
"""Of the time to connect, for the handshake; the rest is for finding out whether the server speaks TLS at all."""
PLAIN_ANSWERS = (b"+PONG", b"-NOAUTH", b"-DENIED", b"-NOPERM", b"-LOADING")
"""How a Redis without TLS begins its answer to PING."""

_LABEL = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----")
_LARGEST_FILE = 4 * 2**20

# OpenSSL's own numbers (openssl/x509_vfy.h)
_NOT_YET_VALID, _EXPIRED, _SELF_SIGNED = 9, 10, 18
_OTHER_NAME, _OTHER_ADDRESS = 62, 64
_REFUSALS = {
    "TLSV1_ALERT_UNKNOWN_CA": "it does not know the CA that signed it",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "it has expired",
    "SSLV3_ALERT_CERTIFICATE_REVOKED": "it was revoked",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "it cannot be verified",
    "SSLV3_ALERT_BAD_CERTIFICATE": "it is broken",
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": "its kind is not supported",
    "TLSV1_ALERT_ACCESS_DENIED": "it may not come in",
    "TLSV1_ALERT_DECRYPT_ERROR": "its signature is wrong",
}
_WANTED = ("TLSV13_ALERT_CERTIFICATE_REQUIRED", "SSLV3_ALERT_HANDSHAKE_FAILURE")
"""How a server says that we lack a certificate: TLS 1.3, and before."""


class TlsFileError(ConfigurationError):
    """A file that TLS needs is wrong; ``variable`` is the setting that names it."""

    def __init__(self, variable: str, problem: str, hint: str | None = None) -> None:
        super().__init__(f"{variable} {problem}", hint=hint)
        self.variable = variable


class TlsMismatch(ConfigurationError):
    """Only one side speaks TLS."""


class CertificateRefused(ConfigurationError):
    """The server's certificate is of a CA that we do not trust, or for another name."""


class CertificateOutOfTime(RedisUnavailable):
    """The server's certificate has expired, or is not valid yet."""


class ClientCertificateRefused(AccessDenied):
    """The server wants a certificate of ours, or refuses ours."""


class SilentHandshake(TimeoutError):
    """A server that accepts connections did not answer the handshake: it hangs, or waits for commands in plain text."""


class SpokenInPlain(OSError):
    """A Redis without TLS answered where we wanted TLS."""


# Files


def tls_context(settings: Settings) -> ssl.SSLContext:
    """A context that verifies certificate and name by the settings' CAs, or the system's; raises ``TlsFileError``."""
    ca_file = settings.redis_tls_ca_file
    if ca_file:
        _pem("REDIS_TLS_CA_FILE", ca_file, "CERTIFICATE")
        try:
            context = ssl.create_default_context(cafile=_place(ca_file))
        except OSError as error:
            raise _broken("REDIS_TLS_CA_FILE", ca_file) from error
    else:
        context = ssl.create_default_context()
    if settings.redis_tls_cert_file or settings.redis_tls_key_file:
        _load_own(context, settings)
    return context


def _load_own(context: ssl.SSLContext, settings: Settings) -> None:
    certificate, key = settings.redis_tls_cert_file, settings.redis_tls_key_file
    if not certificate:
        problem = "is set, and there is no certificate for it"
        raise TlsFileError("REDIS_TLS_KEY_FILE", problem, "set REDIS_TLS_CERT_FILE too")
    text = _pem("REDIS_TLS_CERT_FILE", certificate, "CERTIFICATE")
    if key:
        _pem("REDIS_TLS_KEY_FILE", key, "PRIVATE KEY")
    elif not any(label.endswith("PRIVATE KEY") for label in _LABEL.findall(text)):
        problem = f"{certificate}: it has no private key in it"
        raise TlsFileError("REDIS_TLS_CERT_FILE", problem, "set REDIS_TLS_KEY_FILE to the key's file")
    asked: list[bool] = []

    def password() -> str:
        asked.append(True)  # without a function, OpenSSL would ask on the terminal
        return settings.redis_tls_key_password

    try:
        context.load_cert_chain(_place(certificate), _place(key) if key else None, password)
    except ssl.SSLError as error:
        raise _unloadable(error, settings, asked=bool(asked)) from error
    except OSError as error:  # it was there a moment ago
        raise TlsFileError("REDIS_TLS_CERT_FILE", f"{certificate}: {error.strerror}") from error
    except ValueError as error:  # a password longer than OpenSSL takes
        raise TlsFileError("REDIS_TLS_KEY_PASSWORD", "is longer than the password of a key can be") from error


def _unloadable(error: ssl.SSLError, settings: Settings, *, asked: bool) -> TlsFileError:
    certificate, key = settings.redis_tls_cert_file, settings.redis_tls_key_file or settings.redis_tls_cert_file
    variable = "REDIS_TLS_KEY_FILE" if settings.redis_tls_key_file else "REDIS_TLS_CERT_FILE"
    if error.reason == "KEY_VALUES_MISMATCH":
        problem = f"the key does not belong to the certificate {certificate}"
        compare = "compare: openssl x509 -noout -pubkey -in {}; openssl pkey -pubout -in {}"
        hint = typed(compare, certificate, key)
    elif asked:
        given = settings.redis_tls_key_password
        problem = "REDIS_TLS_KEY_PASSWORD does not open it" if given else "the key has a password"
        hint = "checkoutctl config set REDIS_TLS_KEY_PASSWORD"
    else:
        return _broken(variable, key)
    return TlsFileError(variable, f"{key}: {problem}", hint)


def _place(path: str) -> Path:
    return at_home(path)


def _pem(variable: str, path: str, wanted: str) -> str:
    """The text of a file that has a block of the wanted kind."""
    look = typed("ls -l {}; it must be a file that you can read", path)
    try:
        with _place(path).open("rb") as stream:
            content = stream.read(_LARGEST_FILE)
    except (OSError, ValueError, RuntimeError) as error:  # a NUL in the path; a "~user" who is unknown
        raise TlsFileError(variable, f"{path}: {getattr(error, 'strerror', None) or error}", look) from error
    text = content.decode("ascii", errors="replace")
    labels = _LABEL.findall(text)
    if any(label.endswith(wanted) for label in labels):
        return text
    thing, command = ("certificate", "x509") if wanted == "CERTIFICATE" else ("private key", "pkey")
    if not content:
        raise TlsFileError(variable, f"{path}: the file is empty", look)
    if not labels:
        convert = typed("openssl {} -inform DER -in {}; it converts a DER file", command, path)
        raise TlsFileError(variable, f"{path}: it is not a PEM file, and so no {thing}", convert)
    found = "private key" if labels[0].endswith("PRIVATE KEY") else labels[0].lower()
    raise TlsFileError(variable, f"{path}: it is a {found}, not a {thing}", f"set {variable} to the {thing}'s file")


def _broken(variable: str, path: str) -> TlsFileError:
    hint = typed("openssl asn1parse -in {}; copy it anew", path)
    return TlsFileError(variable, f"{path}: what is in it is broken", hint)


# Connections


class Tls:
    """TLS with each server of the settings; the files are read once, or raise ``TlsFileError``."""

    def __init__(self, settings: Settings) -> None:
        self._context = tls_context(settings)
        self._name = settings.redis_tls_server_name

    def wrap(self, plain: socket.socket, host: str) -> ssl.SSLSocket:
        """The handshake, within the socket's time-out."""
        return self._context.wrap_socket(plain, server_hostname=self._name or host)


class TlsConnection(BoundedConnection):
    """A connection over our own TLS, its handshake within the time to connect."""

    def __init__(self, *, tls: Tls, **options: Any) -> None:
        super().__init__(**options)  # type: ignore[no-untyped-call]
        self._tls = tls

    def _dial(self, deadline: Deadline) -> socket.socket:
        plain = super()._dial(deadline)
        try:
            plain.settimeout(deadline.remaining())
            return self._tls.wrap(plain, self.host)
        except BaseException as error:
            plain.close()
            if isinstance(error, TimeoutError):
                raise SilentHandshake from error
            raise


class SentinelManagedTlsConnection(SentinelManagedConnection, TlsConnection):
    """The same to the primary that the Sentinels name."""


def might_be_plain(error: BaseException) -> bool:
    """Whether a handshake failed as with a server without TLS, which waits for more, or answers anything."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return False
    return isinstance(error, TimeoutError) or (isinstance(error, OSError) and not _alert(error))


def is_silent_handshake(error: BaseException) -> bool:
    """Whether a handshake without an answer is among an error's causes."""
    return any(isinstance(cause, SilentHandshake) for cause in causes(error))


def answers_in_plain(host: str, port: int, wait: float) -> bool:
    """Whether a Redis without TLS is there."""
    try:
        with socket.create_connection((host, port), timeout=wait) as plain:
            plain.sendall(b"PING\r\n")
            return plain.recv(16).startswith(PLAIN_ANSWERS)
    except OSError:
        return False


def holds_key(host: str, port: int, keys: Sequence[str], wait: float) -> bool:
    """Whether a Redis without TLS and password is there and has one of the keys."""
    try:
        with socket.create_connection((host, port), timeout=wait) as plain:
            plain.settimeout(wait)
            plain.sendall(f"EXISTS {' '.join(keys)}\r\n".encode())
            return re.match(rb":[1-9]", plain.recv(16)) is not None
    except OSError:
        return False


def wants_tls(host: str, port: int, wait: float) -> bool:
    """Whether a handshake gets as far as a certificate or an alert, trusted or not."""
    context = ssl.create_default_context()
    try:
        with (
            socket.create_connection((host, port), timeout=wait) as plain,
            context.wrap_socket(plain, server_hostname=host),
        ):
            return True
    except ssl.SSLCertVerificationError:
        return True
    except OSError as error:
        return bool(_alert(error))


def refusal_after_handshake(settings: Settings, host: str, port: int, wait: float) -> ssl.SSLError | None:
    """The server's objection to our certificate, which TLS 1.3 tells only after the handshake, unasked."""
    try:
        with socket.create_connection((host, port), timeout=wait) as plain, Tls(settings).wrap(plain, host) as secured:
            secured.recv(1)
    except OSError as error:
        return error if isinstance(error, ssl.SSLError) and _alert(error) else None
    return None


def _alert(error: BaseException) -> str:
    """The alert that the other side sent, by OpenSSL's name; empty where it sent none."""
    reason = getattr(error, "reason", None) or ""
    return reason if isinstance(error, ssl.SSLError) and "_ALERT_" in reason else ""


# What a failure means


def tls_cause(error: BaseException) -> ssl.SSLError | SpokenInPlain | None:
    """The failure of TLS that a driver's error comes from, if it does."""
    for cause in causes(error):
        if isinstance(cause, (ssl.SSLError, SpokenInPlain)) and not isinstance(cause, TimeoutError):
            return cause
    return None


def explained_tls(
    error: ssl.SSLError | SpokenInPlain, settings: Settings, place: str, *, sentinel: bool = False
) -> CheckoutError:
    """The meaning of a failed handshake, and what to type next. ``place`` is the address in words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _explained_certificate(error, settings, place)
    if isinstance(error, SpokenInPlain):
        return speaks_plain(place, sentinel=sentinel)
    alert, own = _alert(error), settings.redis_tls_cert_file
    hint = typed("openssl x509 -noout -subject -issuer -dates -in {}", own)
    if not own:
        hint = "set REDIS_TLS_CERT_FILE and REDIS_TLS_KEY_FILE"
    if alert in _WANTED and not own:
        return ClientCertificateRefused(f"{place} wants a certificate of ours, and there is none", hint=hint)
    if alert in _WANTED or alert in _REFUSALS:
        why = _REFUSALS.get(alert, "it is not one that it accepts")
        return ClientCertificateRefused(f"{place} refuses our certificate: {why}", hint=hint)
    if "PROTOCOL_VERSION" in (error.reason or ""):
        problem = f"{place} speaks no version of TLS that we accept (1.2 or 1.3)"
        return ConfigurationError(problem, hint="tls-protocols in its configuration")
    if error.reason in {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST"}:
        return speaks_plain(place, sentinel=sentinel)
    return RedisUnavailable(
        f"the TLS connection to {place} failed: {(error.reason or 'it hung up').replace('_', ' ').lower()}",
        hint="look at the server's log; checkoutctl ping",
    )


def _explained_certificate(error: ssl.SSLCertVerificationError, settings: Settings, place: str) -> CheckoutError:
    show = typed("openssl s_client -connect {} </dev/null 2>/dev/null | openssl x509 -noout", _connectable(place))
    code, certificate = error.verify_code, f"the certificate of {place}"
    if code == _EXPIRED:
        return CertificateOutOfTime(f"{certificate} has expired", hint=f"renew it on the server: {show} -dates")
    if code == _NOT_YET_VALID:
        hint = f"date; is this clock right?: {show} -dates"
        return CertificateOutOfTime(f"{certificate} is not valid yet", hint=hint)
    if code in {_OTHER_NAME, _OTHER_ADDRESS}:
        name = re.search(r"not valid for '([^']*)'", error.verify_message)
        problem = f"is for another name than {repr(name[1]) if name else 'the host that is connected to'}"
        hint = f"set REDIS_HOST, or REDIS_TLS_SERVER_NAME, to a name in it: {show} -ext subjectAltName"
        return CertificateRefused(f"{certificate} {problem}", hint=hint)
    if settings.redis_tls_ca_file:
        problem = f"is not signed by a CA in REDIS_TLS_CA_FILE: {error.verify_message}"
    elif code == _SELF_SIGNED:
        problem = "is not to be trusted: it is self-signed"
    else:
        problem = "is not to be trusted: it is of a CA that this system does not know"
    hint = f"set REDIS_TLS_CA_FILE to the CA that signed it: {show} -issuer"
    return CertificateRefused(f"{certificate} {problem}", hint=hint)


def _connectable(place: str) -> str:
    found = re.search(r"(\[[0-9a-fA-F:.%]+\]|[^\s:@,]+):[0-9]{1,5}\b", place)
    return found[0] if found else "HOST:PORT"


def speaks_plain(place: str, *, sentinel: bool = False) -> TlsMismatch:
    """The error where TLS is on, and the server has none."""
    wanted = "we want it" if sentinel else "REDIS_TLS is on"
    hint = "checkoutctl config set REDIS_TLS=false"
    if sentinel:
        hint = "checkoutctl config set REDIS_SENTINEL_TLS=false"
    return TlsMismatch(f"{place} does not speak TLS, and {wanted}", hint=hint)


def speaks_tls(place: str, *, sentinel: bool = False) -> TlsMismatch:
    """The error where TLS is off, and the server wants it."""
    if sentinel:
        return TlsMismatch(
            f"{place} wants TLS, and REDIS_SENTINEL_TLS is off", hint="checkoutctl config set REDIS_SENTINEL_TLS=true"
        )
    hint = "checkoutctl config set REDIS_TLS=true"
    return TlsMismatch(f"{place} wants TLS, and REDIS_TLS is off (in a REDIS_URL: rediss://)", hint=hint)


def sentinel_place(host: str, port: int) -> str:
    """A Sentinel's address in words."""
    return f"the Sentinel at {address_text(host, port)}"
