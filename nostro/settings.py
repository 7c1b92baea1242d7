"""Where things are: one object read from the environment, nothing else reads it.

NOSTRO_HOME          folder of everything the program keeps (default `.nostro`)
NOSTRO_DATABASE_URL  a Postgres server to use instead of the embedded one
NOSTRO_USER          the person a command acts as (login role), unless `--as` says so
NOSTRO_TIMEZONE      where it is *today* for commands and alarms (default `Europe/Berlin`)
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Settings of one deployment."""

    model_config = SettingsConfigDict(env_prefix="NOSTRO_", frozen=True)

    home: Path = Field(default=Path(".nostro"))
    database_url: str | None = None
    database: str = "nostro"
    user: str | None = None
    timezone: str = "Europe/Berlin"

    @property
    def home_path(self) -> Path:
        """The absolute home folder, created when missing."""
        path = self.home.expanduser().resolve()
        path.mkdir(parents=True, exist_ok=True)
        return path
