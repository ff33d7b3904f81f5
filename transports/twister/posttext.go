package twister

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/weft-relay/weft/matching"
	"github.com/weft-relay/weft/transports"
)

// A public post of Weft is one of these:
//
//   - a part of a frame, or of a message that is no text: piecePrefix and packed bytes (see part);
//   - a message as people read it (Readable): its topic, ": ", its payload, and in brackets what tells it from talk, with
//     the quality of service above 0 and whether it is retained:
//     doors/1: empty [mqtt]
//     fridges/2/temperature: 4.5 °C [mqtt q1 retained]
//     The topic ends at the first ": ", the payload at the last " [mqtt", and a message that would not come back the same goes packed.
//     Who writes such a text by hand has sent a message;
//   - a message in the seed's format.
//
// Any other is somebody's talk.

// maxPostText is the length in bytes of the longest public post of any user at any k (contract, section 3).
const maxPostText = 1846

// part is a part of a frame or message that is posted. Its header is
//
//	flags  1 byte
//	id     8 bytes: the same for all parts, and for a frame whenever it is posted
//	index  uvarint
//	uuid   if hasName: its length, uvarint, and it
//
// and the rest is data.
type part struct {
	last  bool
	bare  bool // of a message
	id    [8]byte
	index int
	uuid  string // of the frame; only in the last part, and only where that has room
	data  []byte
}

const (
	isLast = 1 << iota
	isBare
	hasName
)

// A post in which the daemon finds a # or @ with a word behind it goes to the DHT under that word, where strangers see it. So these two are
// written as others are not.
var (
	hideMarks = strings.NewReplacer("#", "£", "@", "§")
	showMarks = strings.NewReplacer("£", "#", "§", "@")
)

func (p *part) text() string {
	flags := byte(0)
	if p.last {
		flags |= isLast
	}
	if p.bare {
		flags |= isBare
	}
	if p.uuid != "" {
		flags |= hasName
	}
	data := append([]byte{flags}, p.id[:]...)
	data = binary.AppendUvarint(data, uint64(p.index))
	if p.uuid != "" {
		data = append(binary.AppendUvarint(data, uint64(len(p.uuid))), p.uuid...)
	}
	data = append(data, p.data...)
	return piecePrefix + hideMarks.Replace(string(appendText(nil, data)))
}

// parsePart parses what part.text makes, and takes nothing else.
func parsePart(text string) (*part, error) {
	packed, ok := strings.CutPrefix(text, piecePrefix)
	if !ok || len(text) > maxPostText || strings.ContainsAny(packed, "#@") {
		return nil, errMalformed
	}
	data, err := parseText(showMarks.Replace(packed))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errMalformed, err)
	}
	r := reader{rest: data}
	flags := r.byte()
	p := &part{last: flags&isLast != 0, bare: flags&isBare != 0}
	copy(p.id[:], r.bytes(len(p.id)))
	p.index = r.number(MaxPayload)
	if flags&hasName != 0 {
		p.uuid = string(r.bytes(r.number(maxUUID)))
	}
	p.data = r.rest
	if r.bad || flags&^(isLast|isBare|hasName) != 0 || !p.last && len(p.data) == 0 ||
		flags&hasName != 0 && (!p.last || p.bare || p.uuid == "" || !utf8.ValidString(p.uuid)) {
		return nil, errMalformed
	}
	return p, nil
}

// split returns the posts that carry a frame of that UUID, or a message, which has none.
func split(data []byte, bare bool, uuid string) []string {
	var texts []string
	for p := (part{bare: bare, id: frameID(uuid)}); !p.last; p.index++ {
		p.data = data[:min(len(data), bytesIn(maxPostText))]
		text := p.fit(len(data))
		data = data[len(p.data):]
		if p.last && !bare && len(uuid) <= maxUUID && utf8.ValidString(uuid) {
			if p.uuid = uuid; len(p.text()) <= maxPostText {
				text = p.text()
			}
		}
		texts = append(texts, text)
	}
	return texts
}

// fit cuts the data of the part until it fits a post, and returns that. It is the last if it takes all that is left.
func (p *part) fit(left int) string {
	for {
		p.last = len(p.data) == left
		text := p.text()
		over := len(text) - maxPostText
		if over <= 0 {
			return text
		}
		p.data = p.data[:len(p.data)-over/2-1] // at most 2 bytes of text hold less than one of data
	}
}

// frameID names a frame by its UUID.
func frameID(uuid string) (id [8]byte) {
	sum := sha256.Sum256([]byte(uuid))
	copy(id[:], sum[:])
	return id
}

// mqttMessage is a message as it travels outside of frames.
type mqttMessage struct {
	topic   string
	qos     byte
	retain  bool
	payload []byte
}

// bareMessage returns the message that Publish was given.
func bareMessage(m *message.Message) (mqttMessage, error) {
	b := mqttMessage{topic: m.Metadata.Get(transports.MetaTopic), retain: m.Metadata.Get(transports.MetaRetain) == "1", payload: m.Payload}
	if qos := m.Metadata.Get(transports.MetaQoS); qos != "" {
		if len(qos) != 1 || qos[0] < '0' || qos[0] > '2' {
			return b, transports.Permanent(fmt.Errorf("metadata %s: no QoS %q, want 0, 1 or 2", transports.MetaQoS, qos))
		}
		b.qos = qos[0] - '0'
	}
	if !validTopic(b.topic) {
		return b, transports.Permanent(fmt.Errorf("metadata %s: %q is no topic", transports.MetaTopic, b.topic))
	}
	return b, nil
}

func validTopic(topic string) bool { return matching.ValidateTopic(topic) == nil }

// message returns the message as a subscription delivers it.
func (b mqttMessage) message(from string, k int) *message.Message {
	m := message.NewMessage(from+"-"+strconv.Itoa(k), b.payload)
	m.Metadata.Set(transports.MetaFrom, from)
	m.Metadata.Set(transports.MetaTopic, b.topic)
	m.Metadata.Set(transports.MetaQoS, string('0'+b.qos))
	if b.retain {
		m.Metadata.Set(transports.MetaRetain, "1")
	}
	return m
}

// pack returns the message as bytes: QoS and retain in one, the length of the topic, the topic, the payload.
func (b mqttMessage) pack() []byte {
	first := b.qos
	if b.retain {
		first |= 4
	}
	data := binary.AppendUvarint([]byte{first}, uint64(len(b.topic)))
	return append(append(data, b.topic...), b.payload...)
}

func unpackMessage(data []byte) (mqttMessage, error) {
	r := reader{rest: data}
	first := r.byte()
	b := mqttMessage{qos: first & 3, retain: first&4 != 0}
	b.topic = string(r.bytes(r.number(1<<16 - 1)))
	b.payload = r.rest
	if r.bad || first > 7 || b.qos > 2 || !validTopic(b.topic) {
		return b, errMalformed
	}
	return b, nil
}

var readablePost = regexp.MustCompile(`(?s)^(.+?): (.*) \[mqtt(?: q([12]))?( retained)?\]$`)

// readable returns the message as people read it, and false if it cannot be so and come back the same.
func (b mqttMessage) readable() (string, bool) {
	text := b.topic + ": " + string(b.payload) + " [mqtt"
	if b.qos > 0 {
		text += " q" + string('0'+b.qos)
	}
	if b.retain {
		text += " retained"
	}
	text += "]"
	if len(text) > maxPostText || !isText(text) {
		return "", false
	}
	back, ok := parsePost(text)
	return text, ok && back.topic == b.topic && back.qos == b.qos && back.retain == b.retain && string(back.payload) == string(b.payload)
}

// isText reports whether people can read it.
func isText(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsFunc(text, func(r rune) bool {
		return unicode.IsControl(r) && r != '\n' && r != '\t'
	})
}

// parsePost returns the message that a post is, whether readable or in the seed's format. Parts are none.
func parsePost(text string) (mqttMessage, bool) {
	if isPiece(text) {
		return mqttMessage{}, false
	}
	if b, ok := parseSeed(text); ok {
		return b, true
	}
	found := readablePost.FindStringSubmatch(text)
	if found == nil || !validTopic(found[1]) {
		return mqttMessage{}, false
	}
	b := mqttMessage{topic: found[1], payload: []byte(found[2]), retain: found[4] != ""}
	if found[3] != "" {
		b.qos = found[3][0] - '0'
	}
	return b, true
}

// name names the frame for the reader: with its own UUID where that came along.
func (p *part) name(from string) string {
	if p.uuid != "" {
		return p.uuid
	}
	return from + "-" + hex.EncodeToString(p.id[:])
}
