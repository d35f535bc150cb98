"""Who observed (PS3.16 TID 1002): the envelope enters, the observation context leaves. A device did, no person."""

import highdicom.sr as hd

from operators.report import tree
from operators.report.envelope import Envelope
from operators.report.node import MANUFACTURER, MODEL_NAME


def device_observer(envelope: Envelope) -> hd.ObservationContext:
    """Return the node, with the model that it ran, as the only observer."""
    node, bundle = envelope.node, envelope.comparison.bundle
    return hd.ObservationContext(
        observer_device_context=hd.ObserverContext(
            observer_type=tree.concept("device"),
            observer_identifying_attributes=hd.DeviceObserverIdentifyingAttributes(
                uid=node.device_uid,
                name=str(node.ae_title),
                manufacturer_name=MANUFACTURER,
                model_name=f"{MODEL_NAME}, model {bundle.name} {bundle.version}",
                serial_number=node.device_serial_number,
            ),
        )
    )
