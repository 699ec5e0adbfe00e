"""The TLS alerts with which the EMS rejects our client certificate."""

import ssl

# By OpenSSL's names. No other alert is listed: a server may send those at any time, even while it
# is processing a request.
_CERTIFICATE_ALERTS = {
    "SSLV3_ALERT_NO_CERTIFICATE": "no certificate",
    "SSLV3_ALERT_BAD_CERTIFICATE": "bad certificate",
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": "unsupported certificate",
    "SSLV3_ALERT_CERTIFICATE_REVOKED": "certificate revoked",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "certificate expired",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "certificate unknown",
    "TLSV1_ALERT_UNKNOWN_CA": "unknown CA",
    "TLSV1_ALERT_ACCESS_DENIED": "access denied",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "certificate required",
}


def certificate_rejection(error: BaseException) -> str:
    """Return in words that the EMS rejected our certificate, and why; "" for any other error."""
    if not isinstance(error, ssl.SSLError) or error.reason not in _CERTIFICATE_ALERTS:
        return ""
    return f"the EMS rejected our client certificate: {_CERTIFICATE_ALERTS[error.reason]}"
