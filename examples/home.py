"""An experiment of one's own: from a base of each kind back to the prompt's own activation."""

from collections.abc import Iterator

from plateau_lens import Drawn, Experiment, Paths, experiment


@experiment("home")
class Home(Experiment):
    """From a base of each kind, put into a real prompt, back to the prompt's own activation."""

    title = "Home"
    varies = "base"

    def paths(self, drawn: Drawn) -> Iterator[Paths]:
        for kind, base in drawn.activations.items():
            yield Paths(kind, base, drawn.block.base, kept={f"base.home.{kind}": base})
