"""Templates: HTML in which everything that comes from data is escaped."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

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
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def page_part(template: str, **values: Any) -> Markup:
    """A part of the page, from a template of a section's own."""
    from markupsafe import Markup

    return Markup(environment().get_template(template).render(**values))
