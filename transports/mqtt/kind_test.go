package mqtt

import (
	"strings"
	"testing"
)

// A broker hangs up on one message. Of which others does that say something? Of none where there may be another reason.
func TestOnlyAMessageWithOneReasonTellsOfOthers(t *testing.T) {
	deep, control := strings.Repeat("x/", 220), "a/\x01"
	for _, tt := range []struct {
		name, topic, payload string
		also, not            string
	}{
		{"deep", deep, "", deep + "y/z", strings.Repeat("x/", 150)},
		{"control", control, "", "b/\x02", deep},
		{"both", deep + "\x01", "", "", deep},
		{"large", deep, strings.Repeat("p", 2*tellingBytes), "", deep},
		{"plain", "a/b", "", "", "a/b"},
	} {
		packet, err := encodePublish(Publication{Topic: tt.topic, Payload: []byte(tt.payload), QoS: 1}, 1)
		if err != nil {
			t.Fatal(err)
		}
		k := (*kind)(nil).with(&flight{packet: packet})
		if tt.also != "" && !k.holds(tt.also) {
			t.Errorf("%s: says nothing of %.20q", tt.name, tt.also)
		}
		if k.holds(tt.not) {
			t.Errorf("%s: says something of %.20q", tt.name, tt.not)
		}
	}
}
