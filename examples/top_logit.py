"""A response of one's own: how far the largest logit has moved."""

from plateau_lens import Response, response


@response("top-logit")
class TopLogit(Response):
    """``|max_v logits[n, v] - max_v logits[0, v]|``, in logits."""

    symbol = "TL"
    title = "Movement of the largest logit"
    axis = "largest logit, moved by"
    unit = "logits"
    reads = "logits"
    least_slope = 1e-3

    def of(self, seen):
        top = seen.amax(dim=-1)
        return (top - top[:, :1]).abs()
