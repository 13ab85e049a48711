"""Changes upstream over MQTT, commands down."""

from gateway.outlets.mqtt.outlet import Mqtt
from gateway.outlets.mqtt.settings import MqttSettings, MqttStatus

__all__ = ["Mqtt", "MqttSettings", "MqttStatus"]
