"""What could not be done. A denial is a value, never one of these; `api.problems` gives each a status."""


class GateError(Exception):
    """The family. Messages: lower case, no full stop, name the thing. `code`: of a reason catalogue, where one fits."""

    def __init__(self, message: str = "", *, code: str | None = None) -> None:
        super().__init__(message)
        self.code = code


class Invalid(GateError):
    """Input that cannot be accepted: what, where, how to mend."""


class NotAuthenticated(GateError):
    """No key, or one that is not known, expired or revoked."""


class LockedOut(GateError):
    """Too many keys that are not valid; `seconds` until the next will be looked at."""

    def __init__(self, message: str = "", seconds: int = 1) -> None:
        super().__init__(message)
        self.seconds = seconds


class NotPermitted(GateError):
    """The caller's roles do not include what this needs."""


class NotFound(GateError):
    """No such thing, or not one that this caller may know of."""


class Conflict(GateError):
    """The thing is in a state that does not allow this."""


class Taken(Conflict):
    """A name that somebody else has."""


class UnderWay(Conflict):
    """The same request is being done just now."""


class Reused(GateError):
    """An Idempotency-Key that belongs to another request of this caller."""


class Outdated(GateError):
    """The thing was changed since the caller read it (RFC 9110 13.1.1)."""


class Unconditional(GateError):
    """A change without a condition (RFC 6585 3): it could undo somebody else's."""


class NotDecided(GateError):
    """Records or policy could not be loaded or evaluated: never an answer."""


class NotRecorded(GateError):
    """The log entry could not be committed: never an answer."""


class Misconfigured(GateError):
    """The service cannot start as it is configured."""


class TooLarge(GateError):
    """A body over its limit."""


class HeadersTooLarge(GateError):
    """A request's head over its limit."""
