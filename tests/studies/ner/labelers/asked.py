"""A labeler as a recipe describes it."""

from pathlib import Path

from ckd_dist.config import Endpoint, values_of
from ckd_dist.studies.ner.config import LabelEndpoint
from ckd_dist.studies.ner.labelers.asking import Asking
from ckd_dist.studies.ner.labelers.endpoint import EndpointLabeler


def labeler_of(folder: Path, types=("disease",), **fields) -> EndpointLabeler:
    """Return the labeler of `label.endpoints` with these fields.  folder: of its answers."""
    part = LabelEndpoint(**fields)
    return EndpointLabeler(values_of(part, Endpoint), values_of(part, Asking), types, folder)
