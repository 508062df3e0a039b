"""Tests of the gate, over real Postgres and real HTTP."""

import pytest

pytest.register_assert_rewrite("tests.service")
