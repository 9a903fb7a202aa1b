"""References as people write them: `name@version`."""

from __future__ import annotations

from labeling.errors import NotFound, Refused
from labeling.models import DatasetVersion


def split(reference: str) -> tuple[str, str | None]:
    """`gold@3` → ("gold", "3"); `gold` → ("gold", None). The last @ counts, since version names may not contain one."""
    name, at, version = reference.rpartition("@")
    return (name, version) if at else (reference, None)


def dataset_version(reference: str) -> DatasetVersion:
    """The frozen dataset version that `gold@3` names, or the newest one for `gold`; raises NotFound naming it."""
    name, number = split(reference)
    versions = DatasetVersion.objects.select_related("dataset__signal").filter(
        dataset__slug=name, frozen_at__isnull=False
    )
    if number is not None:
        if not number.isdigit():
            raise Refused(
                "bad_reference", f"{reference!r}: the version of a dataset is a number, as in {name}@3", field="dataset"
            )
        versions = versions.filter(number=int(number))
    version = versions.order_by("-number").first()
    if version is None:
        raise NotFound("unknown_dataset_version", f"there is no frozen dataset version {reference!r}", field="dataset")
    return version
