"""Changes upstream over MQTT, commands down."""

from gateway.outlets.mqtt.outlet import Mqtt, MqttSettings, MqttStatus

__all__ = ["Mqtt", "MqttSettings", "MqttStatus"]
