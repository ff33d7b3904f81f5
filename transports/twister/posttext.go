package twister

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
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
