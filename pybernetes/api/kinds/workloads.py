"""ReplicationController, ReplicaSet, Deployment, DaemonSet, StatefulSet, ControllerRevision and PodTemplate.

Source of defaults, rules and texts: ``pkg/apis/apps`` and ``pkg/apis/core``.
"""

from __future__ import annotations

from typing import ClassVar

from pybernetes.api import names
from pybernetes.api.field import FieldError
from pybernetes.api.kinds import labels
from pybernetes.api.kinds.claims import claim_spec
from pybernetes.api.kinds.equality import semantic_equal
from pybernetes.api.kinds.faults import Faults
from pybernetes.api.kinds.podspec.defaults import default_claim_spec, default_template
from pybernetes.api.kinds.podspec.validation import pod_template
from pybernetes.api.kinds.podspec.warnings import claim_warnings, name_warning, pod_warnings
from pybernetes.api.kinds.rollouts import at_most_all, int_or_percent, is_zero
from pybernetes.api.kinds.strategy import Strategy
from pybernetes.api.meta import Object, annotations_of, labels_of, metadata

REVISION_HISTORY_LIMIT = 10
PROGRESS_DEADLINE_SECONDS = 600
SELECTOR_MISMATCH = "`selector` does not match template `labels`"


class TemplateStrategy(Strategy):
    """A kind with ``spec.selector`` and ``spec.template``."""

    has_generation = True
    #: How the kind's name is spelled in its messages.
    spoken: ClassVar[str] = ""
    empty_selector_text: ClassVar[str] = ""
    bad_selector_text: ClassVar[str] = "invalid label selector"

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        default_template(spec.setdefault("template", {}))
        self.default_spec(spec)
        if self.initial_status and obj.get("status") is not None:
            for name, value in self.initial_status.items():
                obj["status"].setdefault(name, value)

    def default_spec(self, spec: Object) -> None:
        """The kind's own defaults."""

    def validate_selected_template(self, faults: Faults, spec: Object) -> None:
        """``spec.selector``, and the template, which is looked at where the selector can be understood."""
        selector, template = spec.get("selector"), spec.get("template") or {}
        if selector is None:
            faults.required("spec.selector")
        else:
            labels.label_selector(faults, "spec.selector", selector)
            if labels.is_empty_selector(selector):
                faults.invalid("spec.selector", selector, self.empty_selector_text)
        if not labels.is_valid_selector(selector):
            faults.invalid("spec.selector", selector, self.bad_selector_text)
            return
        if selector is None or not (
            labels.is_empty_selector(selector) or labels.selector_matches(selector, labels_of(template))
        ):
            # No selector selects nothing: that, too, is no match.
            faults.invalid("spec.template.metadata.labels", labels_of(template), SELECTOR_MISMATCH)
        self.validate_template(faults, spec)

    def validate_template(self, faults: Faults, spec: Object) -> None:
        template = spec.get("template") or {}
        pod_template(faults, "spec.template", template)
        self.validate_running_forever(faults, template.get("spec") or {})

    def validate_running_forever(self, faults: Faults, pod: Object) -> None:
        policy = pod.get("restartPolicy")
        if policy != "Always":
            faults.not_supported("spec.template.spec.restartPolicy", policy, ("Always",))
        if pod.get("activeDeadlineSeconds") is not None:
            faults.forbidden(
                "spec.template.spec.activeDeadlineSeconds",
                f"activeDeadlineSeconds in {self.spoken} is not Supported",
            )

    def validate_spec(self, faults: Faults, spec: Object) -> None:
        """The kind's own rules."""

    def validate_create(self, obj: Object) -> list[FieldError]:
        faults = Faults()
        self.validate_spec(faults, obj.get("spec") or {})
        return faults

    def validate_update(self, obj: Object, old: Object) -> list[FieldError]:
        spec, before = obj.get("spec") or {}, old.get("spec") or {}
        faults = Faults()
        # Scaling and metadata are most updates; an unchanged spec has been judged before.
        if spec != before:
            self.validate_spec(faults, spec)
            faults.immutable("spec.selector", spec.get("selector"), before.get("selector"))
        return faults

    #: Whether a name that is no DNS label earns a warning.
    warns_of_name: ClassVar[bool] = True

    def warnings(self, obj: Object, old: Object | None) -> list[str]:
        spec = obj.get("spec") or {}
        out = name_warning(obj, "Pod names and hostnames") if old is None and self.warns_of_name else []
        if old is None or not semantic_equal(spec, old.get("spec")):
            out.extend(pod_warnings(spec.get("template") or {}, "spec.template"))
        return out


def default_replicas(spec: Object) -> None:
    if spec.get("replicas") is None:
        spec["replicas"] = 1


class DeploymentStrategy(TemplateStrategy):
    initial_status: ClassVar[Object | None] = {}
    # Deployments are checked with the rules, and words, of the replica sets they become.
    spoken = "ReplicaSet"
    empty_selector_text = "empty selector is invalid for deployment"

    def default_spec(self, spec: Object) -> None:
        default_replicas(spec)
        strategy = spec.setdefault("strategy", {})
        if not strategy.get("type"):
            strategy["type"] = "RollingUpdate"
        if strategy["type"] == "RollingUpdate":
            rolling = strategy.setdefault("rollingUpdate", {})
            for name in ("maxUnavailable", "maxSurge"):
                if rolling.get(name) is None:
                    rolling[name] = "25%"
        if spec.get("revisionHistoryLimit") is None:
            spec["revisionHistoryLimit"] = REVISION_HISTORY_LIMIT
        if spec.get("progressDeadlineSeconds") is None:
            spec["progressDeadlineSeconds"] = PROGRESS_DEADLINE_SECONDS

    def validate_spec(self, faults: Faults, spec: Object) -> None:
        faults.not_negative("spec.replicas", spec.get("replicas"))
        self.validate_selected_template(faults, spec)
        self._strategy(faults, spec.get("strategy") or {})
        faults.not_negative("spec.minReadySeconds", spec.get("minReadySeconds"))
        faults.not_negative("spec.revisionHistoryLimit", spec.get("revisionHistoryLimit"))
        deadline = spec.get("progressDeadlineSeconds")
        if deadline is not None:
            faults.not_negative("spec.progressDeadlineSeconds", deadline)
            if deadline <= (spec.get("minReadySeconds") or 0):
                faults.invalid("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds")

    def _strategy(self, faults: Faults, strategy: Object) -> None:
        at, kind, rolling = "spec.strategy", strategy.get("type"), strategy.get("rollingUpdate")
        if kind == "Recreate":
            if rolling is not None:
                faults.forbidden(f"{at}.rollingUpdate", "may not be specified when strategy `type` is 'Recreate'")
        elif kind == "RollingUpdate":
            rolling = rolling or {}
            unavailable, surge = rolling.get("maxUnavailable"), rolling.get("maxSurge")
            int_or_percent(faults, f"{at}.rollingUpdate.maxUnavailable", unavailable)
            int_or_percent(faults, f"{at}.rollingUpdate.maxSurge", surge)
            if is_zero(unavailable) and is_zero(surge):
                faults.invalid(f"{at}.rollingUpdate.maxUnavailable", unavailable, "may not be 0 when `maxSurge` is 0")
            at_most_all(faults, f"{at}.rollingUpdate.maxUnavailable", unavailable)
        else:
            faults.not_supported(at, strategy, ("Recreate", "RollingUpdate"))

    def prepare_for_status_update(self, obj: Object, old: Object) -> None:
        super().prepare_for_status_update(obj, old)
        labels = metadata(old).get("labels")
        if labels is not None:
            metadata(obj)["labels"] = labels
        else:
            metadata(obj).pop("labels", None)

    def validate_status_update(self, obj: Object, old: Object) -> list[FieldError]:
        counts = (
            "observedGeneration", "replicas", "updatedReplicas", "readyReplicas", "availableReplicas",
            "unavailableReplicas", "terminatingReplicas",
        )  # fmt: skip
        faults = replica_status(obj, counts, ("updatedReplicas", "readyReplicas", "availableReplicas"))
        collision_count(faults, obj, old)
        return faults

    def raises_generation(self, obj: Object, old: Object) -> bool:
        # A Deployment's annotations go on to its replica sets: its controller must see that they changed.
        return super().raises_generation(obj, old) or annotations_of(obj) != annotations_of(old)


def replica_status(
    obj: Object, counts: tuple[str, ...], at_most_replicas: tuple[str, ...], ready_called: str = "readyReplicas"
) -> Faults:
    """A status' counts: not negative, and no part greater than the whole."""
    faults = Faults()
    status = obj.get("status") or {}
    total = status.get("replicas") or 0
    for name in counts:
        faults.not_negative(f"status.{name}", status.get(name))
    for name in at_most_replicas:
        count = status.get(name) or 0
        if count > total:
            faults.invalid(f"status.{name}", count, "cannot be greater than status.replicas")
    available, ready = status.get("availableReplicas") or 0, status.get("readyReplicas") or 0
    if available > ready:
        faults.invalid("status.availableReplicas", available, f"cannot be greater than {ready_called}")
    return faults


def collision_count(faults: Faults, obj: Object, old: Object) -> None:
    """How often a name was taken only ever grows."""
    new, before = ((o.get("status") or {}).get("collisionCount") for o in (obj, old))
    faults.not_negative("status.collisionCount", new)
    if before is not None and (new is None or new < before):
        faults.invalid("status.collisionCount", new or 0, "cannot be decremented")


_REPLICA_PARTS = ("fullyLabeledReplicas", "readyReplicas", "availableReplicas")
_REPLICA_COUNTS = ("replicas", *_REPLICA_PARTS, "terminatingReplicas", "observedGeneration")


class ReplicaSetStrategy(TemplateStrategy):
    initial_status: ClassVar[Object | None] = {"replicas": 0}
    spoken = "ReplicaSet"
    empty_selector_text = "empty selector is invalid for deployment"

    def default_spec(self, spec: Object) -> None:
        default_replicas(spec)

    def validate_spec(self, faults: Faults, spec: Object) -> None:
        faults.not_negative("spec.replicas", spec.get("replicas"))
        faults.not_negative("spec.minReadySeconds", spec.get("minReadySeconds"))
        self.validate_selected_template(faults, spec)

    def validate_status_update(self, obj: Object, old: Object) -> list[FieldError]:
        return replica_status(obj, _REPLICA_COUNTS, _REPLICA_PARTS)

    def selectable_fields(self, obj: Object) -> dict[str, str]:
        fields = super().selectable_fields(obj)
        fields["status.replicas"] = str((obj.get("status") or {}).get("replicas") or 0)
        return fields


class ReplicationControllerStrategy(TemplateStrategy):
    initial_status: ClassVar[Object | None] = {"replicas": 0}
    spoken = "ReplicationController"

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        template = spec.get("template")
        if template is not None:
            default_template(template)
            template_labels = labels_of(template)
            if template_labels:
                if not spec.get("selector"):
                    spec["selector"] = dict(template_labels)
                if not labels_of(obj):
                    obj.setdefault("metadata", {})["labels"] = dict(template_labels)
        default_replicas(spec)
        if obj.get("status") is not None:
            obj["status"].setdefault("replicas", 0)

    def validate_spec(self, faults: Faults, spec: Object) -> None:
        faults.not_negative("spec.minReadySeconds", spec.get("minReadySeconds"))
        selector, template = spec.get("selector"), spec.get("template")
        if not selector:
            faults.required("spec.selector")
        faults.not_negative("spec.replicas", spec.get("replicas"))
        if template is None:
            faults.required("spec.template")
            return
        have = labels_of(template)
        if selector and any(have.get(k) != v for k, v in selector.items()):
            faults.invalid("spec.template.metadata.labels", have, SELECTOR_MISMATCH)
        self.validate_template(faults, spec)

    def validate_update(self, obj: Object, old: Object) -> list[FieldError]:
        # A replication controller's selector may change.
        return self.validate_create(obj)

    def validate_status_update(self, obj: Object, old: Object) -> list[FieldError]:
        return replica_status(obj, _REPLICA_COUNTS, _REPLICA_PARTS)

    def selectable_fields(self, obj: Object) -> dict[str, str]:
        fields = super().selectable_fields(obj)
        fields["status.replicas"] = str((obj.get("status") or {}).get("replicas") or 0)
        return fields


TEMPLATE_GENERATION = "deprecated.daemonset.template.generation"


def _template_generation(obj: Object, generation: int) -> None:
    """A field of old API versions, which apps/v1 keeps in an annotation."""
    meta = obj.setdefault("metadata", {})
    if meta.get("annotations") is None:
        meta["annotations"] = {}
    meta["annotations"][TEMPLATE_GENERATION] = str(generation)


class DaemonSetStrategy(TemplateStrategy):
    initial_status: ClassVar[Object | None] = {
        "currentNumberScheduled": 0, "numberMisscheduled": 0, "desiredNumberScheduled": 0, "numberReady": 0
    }  # fmt: skip
    spoken = "DaemonSet"
    empty_selector_text = "empty selector is invalid for daemonset"
    warns_of_name = False

    def prepare_for_create(self, obj: Object) -> None:
        super().prepare_for_create(obj)
        _template_generation(obj, 1)

    def prepare_for_update(self, obj: Object, old: Object) -> None:
        super().prepare_for_update(obj, old)
        had = annotations_of(old).get(TEMPLATE_GENERATION) or "1"
        generation = int(had) if had.isascii() and had.isdigit() and len(had) < 19 else 1
        new, before = ((o.get("spec") or {}).get("template") for o in (obj, old))
        _template_generation(obj, generation if semantic_equal(new, before) else generation + 1)

    def default_spec(self, spec: Object) -> None:
        strategy = spec.setdefault("updateStrategy", {})
        if not strategy.get("type"):
            strategy["type"] = "RollingUpdate"
        if strategy["type"] == "RollingUpdate":
            rolling = strategy.setdefault("rollingUpdate", {})
            if rolling.get("maxUnavailable") is None:
                rolling["maxUnavailable"] = 1
            if rolling.get("maxSurge") is None:
                rolling["maxSurge"] = 0
        if spec.get("revisionHistoryLimit") is None:
            spec["revisionHistoryLimit"] = REVISION_HISTORY_LIMIT

    def validate_spec(self, faults: Faults, spec: Object) -> None:
        selector, template = spec.get("selector"), spec.get("template") or {}
        labels.label_selector(faults, "spec.selector", selector)
        if labels.is_valid_selector(selector) and not labels.selector_matches(selector, labels_of(template)):
            faults.invalid("spec.template.metadata.labels", labels_of(template), SELECTOR_MISMATCH)
        if selector is not None and labels.is_empty_selector(selector):
            faults.invalid("spec.selector", selector, self.empty_selector_text)
        self.validate_template(faults, spec)
        faults.not_negative("spec.minReadySeconds", spec.get("minReadySeconds"))
        strategy = spec.get("updateStrategy") or {}
        at, kind = "spec.updateStrategy", strategy.get("type")
        if kind == "RollingUpdate":
            self._rolling(faults, f"{at}.rollingUpdate", strategy.get("rollingUpdate"))
        elif kind != "OnDelete":
            faults.not_supported(at, strategy, ("RollingUpdate", "OnDelete"))
        faults.not_negative("spec.revisionHistoryLimit", spec.get("revisionHistoryLimit"))

    def validate_status_update(self, obj: Object, old: Object) -> list[FieldError]:
        faults = Faults()
        for name in _DAEMON_COUNTS:
            faults.not_negative(f"status.{name}", (obj.get("status") or {}).get(name))
        collision_count(faults, obj, old)
        return faults

    @staticmethod
    def _rolling(faults: Faults, path: str, rolling: Object | None) -> None:
        if rolling is None:
            faults.required(path)
            return
        unavailable, surge = rolling.get("maxUnavailable"), rolling.get("maxSurge")
        for name, value in (("maxUnavailable", unavailable), ("maxSurge", surge)):
            int_or_percent(faults, f"{path}.{name}", value)
            at_most_all(faults, f"{path}.{name}", value)
        if not is_zero(unavailable) and not is_zero(surge):
            faults.invalid(f"{path}.maxSurge", surge, "may not be set when maxUnavailable is non-zero")
        elif is_zero(unavailable) and is_zero(surge):
            faults.required(f"{path}.maxUnavailable", "cannot be 0 when maxSurge is 0")


_DAEMON_COUNTS = (
    "currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady", "observedGeneration",
    "updatedNumberScheduled", "numberAvailable", "numberUnavailable",
)  # fmt: skip
_STATEFUL_MUTABLE = (
    "replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy", "minReadySeconds",
)  # fmt: skip


class StatefulSetStrategy(TemplateStrategy):
    initial_status: ClassVar[Object | None] = {"replicas": 0, "availableReplicas": 0}
    spoken = "StatefulSet"
    empty_selector_text = "empty selector is invalid for statefulset"
    bad_selector_text = ""

    def validate_name(self, name: str, *, prefix: bool) -> list[str]:
        return names.dns_label(name, prefix=prefix)

    def default_spec(self, spec: Object) -> None:
        default_replicas(spec)
        if not spec.get("podManagementPolicy"):
            spec["podManagementPolicy"] = "OrderedReady"
        strategy = spec.setdefault("updateStrategy", {})
        if not strategy.get("type"):
            strategy["type"] = "RollingUpdate"
            strategy.setdefault("rollingUpdate", {})
        rolling = strategy.get("rollingUpdate")
        # A RollingUpdate that is spelled out without its settings stays without: the controller knows what is meant.
        if rolling is not None and strategy["type"] == "RollingUpdate":
            for name, value in (("partition", 0), ("maxUnavailable", 1)):
                if rolling.get(name) is None:
                    rolling[name] = value
        policy = spec.setdefault("persistentVolumeClaimRetentionPolicy", {})
        for name in ("whenDeleted", "whenScaled"):
            if not policy.get(name):
                policy[name] = "Retain"
        if spec.get("revisionHistoryLimit") is None:
            spec["revisionHistoryLimit"] = REVISION_HISTORY_LIMIT
        for claim in spec.get("volumeClaimTemplates") or ():
            claim["apiVersion"], claim["kind"] = "v1", "PersistentVolumeClaim"
            claim.setdefault("metadata", {})
            default_claim_spec(claim.setdefault("spec", {}))
            claim.setdefault("status", {}).setdefault("phase", "Pending")

    def validate_spec(self, faults: Faults, spec: Object) -> None:
        policy = spec.get("podManagementPolicy")
        if not policy:
            faults.required("spec.podManagementPolicy")
        elif policy not in ("OrderedReady", "Parallel"):
            faults.invalid("spec.podManagementPolicy", policy, "must be 'OrderedReady' or 'Parallel'")
        self._update_strategy(faults, spec.get("updateStrategy") or {})
        for name in ("whenDeleted", "whenScaled"):
            value = (spec.get("persistentVolumeClaimRetentionPolicy") or {}).get(name)
            if value not in ("Retain", "Delete"):
                faults.not_supported(
                    f"spec.persistentVolumeClaimRetentionPolicy.{name}", value or "", ("Retain", "Delete")
                )
        faults.not_negative("spec.replicas", spec.get("replicas"))
        faults.not_negative("spec.minReadySeconds", spec.get("minReadySeconds"))
        faults.not_negative("spec.ordinals.start", (spec.get("ordinals") or {}).get("start"))
        self.validate_selected_template(faults, spec)
        self.validate_running_forever(faults, (spec.get("template") or {}).get("spec") or {})

    def validate_template(self, faults: Faults, spec: Object) -> None:
        pod_template(faults, "spec.template", _with_claimed_volumes(spec))

    def validate_create(self, obj: Object) -> list[FieldError]:
        faults, spec = Faults(super().validate_create(obj)), obj.get("spec") or {}
        # What follows was not always looked at, so updates leave it alone.
        for i, claim in enumerate(spec.get("volumeClaimTemplates") or ()):
            claim_spec(faults, f"spec.volumeClaimTemplates[{i}].spec", claim.get("spec") or {})
        if service := spec.get("serviceName"):
            faults.each("spec.serviceName", service, names.dns_label(service))
        return faults

    @staticmethod
    def _update_strategy(faults: Faults, strategy: Object) -> None:
        at, kind, rolling = "spec.updateStrategy", strategy.get("type"), strategy.get("rollingUpdate")
        if not kind:
            faults.required(at)
        elif kind == "OnDelete":
            if rolling is not None:
                faults.invalid(f"{at}.rollingUpdate", rolling, "only allowed for updateStrategy 'RollingUpdate'")
        elif kind == "RollingUpdate":
            faults.not_negative(f"{at}.rollingUpdate.partition", (rolling or {}).get("partition"))
            unavailable = (rolling or {}).get("maxUnavailable")
            if unavailable is not None:
                where = f"{at}.rollingUpdate.maxUnavailable"
                int_or_percent(faults, where, unavailable)
                at_most_all(faults, where, unavailable)
                if is_zero(unavailable):
                    faults.invalid(where, unavailable, "cannot be 0")
        else:
            faults.invalid(at, strategy, "must be 'RollingUpdate' or 'OnDelete'")

    def validate_update(self, obj: Object, old: Object) -> list[FieldError]:
        spec, before = obj.get("spec") or {}, old.get("spec") or {}
        faults = Faults()
        if spec == before:
            return faults
        self.validate_spec(faults, spec)
        if faults:
            # A template that is no worse than the stored one may stay.
            stored = Faults()
            self.validate_template(stored, before)
            if stored:
                faults = Faults(f for f in faults if not f.field.startswith("spec.template.spec."))
                self.validate_running_forever(faults, (spec.get("template") or {}).get("spec") or {})
        fixed = [{k: v for k, v in s.items() if k not in _STATEFUL_MUTABLE} for s in (spec, before)]
        if not semantic_equal(*fixed):
            faults.forbidden(
                "spec",
                "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', "
                "'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and "
                "'minReadySeconds' are forbidden",
            )
        return faults

    def validate_status_update(self, obj: Object, old: Object) -> list[FieldError]:
        parts = ("readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas")
        faults = replica_status(obj, ("replicas", *parts, "observedGeneration"), parts, "status.readyReplicas")
        collision_count(faults, obj, old)
        return faults

    def warnings(self, obj: Object, old: Object | None) -> list[str]:
        out, spec = super().warnings(obj, old), obj.get("spec") or {}
        if old is None or not semantic_equal(spec, old.get("spec")):
            for i, claim in enumerate(spec.get("volumeClaimTemplates") or ()):
                out.extend(claim_warnings(f"spec.volumeClaimTemplates[{i}].Spec", claim.get("spec") or {}))
        if (spec.get("revisionHistoryLimit") or 0) < 0:
            out.append(
                "spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is "
                "recommended"
            )
        return out


def _with_claimed_volumes(spec: Object) -> Object:
    """The pods' template with a volume for every claim template: it takes the place of one of the same name."""
    template: Object = spec.get("template") or {}
    claimed = [metadata(claim).get("name") or "" for claim in spec.get("volumeClaimTemplates") or ()]
    if not claimed:
        return template
    pod = template.get("spec") or {}
    volumes = [v for v in pod.get("volumes") or () if v.get("name") not in claimed]
    volumes += [{"name": name, "persistentVolumeClaim": {"claimName": name}} for name in claimed]
    return {**template, "spec": {**pod, "volumes": volumes}}


class ControllerRevisionStrategy(Strategy):
    def default(self, obj: Object) -> None:
        obj.setdefault("revision", 0)

    def validate_create(self, obj: Object) -> list[FieldError]:
        faults = Faults()
        if obj.get("data") is None:
            faults.required("data", "data is mandatory")
        faults.not_negative("revision", obj.get("revision"))
        return faults

    def validate_update(self, obj: Object, old: Object) -> list[FieldError]:
        faults = Faults(self.validate_create(obj))
        faults.immutable("data", obj.get("data"), old.get("data"))
        return faults


class PodTemplateStrategy(Strategy):
    has_generation = True

    def default(self, obj: Object) -> None:
        default_template(obj.setdefault("template", {}))

    def raises_generation(self, obj: Object, old: Object) -> bool:
        return not semantic_equal(obj.get("template"), old.get("template"))

    def validate_create(self, obj: Object) -> list[FieldError]:
        faults = Faults()
        pod_template(faults, "template", obj.get("template") or {})
        return faults

    def warnings(self, obj: Object, old: Object | None) -> list[str]:
        if old is not None and semantic_equal(obj.get("template"), old.get("template")):
            return []
        return pod_warnings(obj.get("template") or {}, "template")
