"""Templates: HTML in which everything that comes from data is escaped."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from plateau_lens.report.visible import visible

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup


@cache
def environment() -> Environment:
    """The templates of ``report/templates/``."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("plateau_lens.report", "templates"),
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _shown(value: object) -> object:
    """What a template writes of a value: of text from data all that is in it; of a section's own HTML, that."""
    return visible(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


def page_part(template: str, **values: Any) -> Markup:
    """A part of the page, from a template of a section's own."""
    from markupsafe import Markup

    return Markup(environment().get_template(template).render(**values))
