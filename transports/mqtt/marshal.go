package mqtt

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"strconv"
	"sync/atomic"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/weft-relay/weft/transports"
)

// Marshaler turns Watermill messages into MQTT ones and back. Its methods are called from several goroutines.
type Marshaler interface {
	// Marshal returns what to publish for msg on the topic.
	Marshal(topic string, msg *message.Message) (Publication, error)
	// Unmarshal returns the Watermill message for what has arrived.
	Unmarshal(Publication) (*message.Message, error)
}

// Raw is the [Marshaler] of plain MQTT: the payload as it is; topic, QoS and retain flag in the metadata under
// [transports.MetaTopic], [transports.MetaQoS] and [transports.MetaRetain], and the packet identifier of an incoming
// message at QoS 2 under [transports.MetaPacketID]. A message without a QoS is published at QoS 1. An arriving
// message gets a UUID that is unique in the process and likely to be everywhere, but it is no identity: MQTT has none.
type Raw struct{}

// Marshal implements [Marshaler].
func (Raw) Marshal(topic string, msg *message.Message) (Publication, error) {
	qos, err := qosOf(msg, 1)
	return Publication{Topic: topic, Payload: msg.Payload, QoS: qos, Retain: msg.Metadata[transports.MetaRetain] == "1"}, err
}

// Unmarshal implements [Marshaler].
func (Raw) Unmarshal(p Publication) (*message.Message, error) {
	msg := message.NewMessage(newUUID(), p.Payload)
	setMetadata(msg, p)
	return msg, nil
}

// Envelope is the [Marshaler] from Watermill to Watermill: a JSON object keeps the UUID and all metadata beside the
// payload. Topic, QoS and retain flag are handled as by [Raw].
type Envelope struct{}

type envelope struct {
	UUID     string            `json:"uuid"`
	Metadata map[string]string `json:"metadata,omitempty"`
	Payload  []byte            `json:"payload"`
}

// Marshal implements [Marshaler].
func (Envelope) Marshal(topic string, msg *message.Message) (Publication, error) {
	qos, err := qosOf(msg, 1)
	if err != nil {
		return Publication{}, err
	}
	payload, err := json.Marshal(envelope{UUID: msg.UUID, Metadata: msg.Metadata, Payload: msg.Payload})
	return Publication{Topic: topic, Payload: payload, QoS: qos, Retain: msg.Metadata[transports.MetaRetain] == "1"}, err
}

// Unmarshal implements [Marshaler].
func (Envelope) Unmarshal(p Publication) (*message.Message, error) {
	var e envelope
	if err := json.Unmarshal(p.Payload, &e); err != nil {
		return nil, fmt.Errorf("envelope: %w", err)
	}
	msg := message.NewMessage(e.UUID, e.Payload)
	maps.Copy(msg.Metadata, e.Metadata)
	delete(msg.Metadata, transports.MetaRetain)
	delete(msg.Metadata, transports.MetaPacketID)
	setMetadata(msg, p)
	return msg, nil
}

var qosNames = [...]string{"0", "1", "2"}

func setMetadata(msg *message.Message, p Publication) {
	msg.Metadata[transports.MetaTopic] = p.Topic
	msg.Metadata[transports.MetaQoS] = qosNames[p.QoS]
	if p.Retain {
		msg.Metadata[transports.MetaRetain] = "1"
	}
	if p.QoS == 2 {
		msg.Metadata[transports.MetaPacketID] = strconv.Itoa(int(p.PacketID))
	}
}

func qosOf(msg *message.Message, missing byte) (byte, error) {
	switch value := msg.Metadata[transports.MetaQoS]; value {
	case "":
		return missing, nil
	case "0", "1", "2":
		return value[0] - '0', nil
	default:
		return 0, transports.Permanent(fmt.Errorf("metadata %s: no QoS %q, want 0, 1 or 2", transports.MetaQoS, value))
	}
}

var (
	uuidPrefix  = fmt.Sprintf("%016x-", rand.Uint64())
	uuidCounter atomic.Uint64
)

// newUUID costs a counter: a random identifier for each of 50,000 messages a second would be the dearest part of them.
func newUUID() string {
	return string(strconv.AppendUint([]byte(uuidPrefix), uuidCounter.Add(1), 16))
}
