"""A report section of one's own: whose events were not seen."""

from plateau_lens import Section, Table, section


@section("censoring")
class Censoring(Section):
    """The share of pairs of each kind whose event was not seen, statistic by statistic."""

    title = "Who is censored"

    def tables(self) -> list[Table]:
        rows = [
            (sample.kind, self.data.called(group), f"{100 * sample.censored.mean():.1f} %")
            for group, samples in self.data.samples.items()
            for sample in samples
        ]
        return [Table(self.title, ("kind", "statistic", "censored"), tuple(rows))]
