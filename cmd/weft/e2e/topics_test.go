package e2e_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	"github.com/stretchr/testify/require"
)

// nasty are legal topic names that networks with other alphabets, and programs that look into them, get wrong. Mosquitto refuses control characters, as
// it may [MQTT-1.5.3-2], and more than 200 levels.
var nasty = []string{
	"/", "//", "/a", "a/", "a//b", " ", " a / b ", "a.b.c", "a*b", "*", ">", "a/>", "a.>", "a\\b", `"quoted"/'single'`,
	"spBv1.0/group/NDATA/edge", "spBv1.0/STATE/host", "$", "$weft/x", "weft.direct.bob", "_INBOX.x", "a/%2f/%00", "x/${HOME}", "..", "../../etc", "null", "ä/ö/ü", "日本/東京",
	"\U0001F9F6/wool", "e\u0301 and é", "\u200b", "a,b;c", "{}/[]", strings.Repeat("x/", 150) + "x", strings.Repeat("long", 16_000),
}

// Does every legal topic come out as it went in, with its payload?
func TestEveryLegalTopicCrosses(t *testing.T) {
	m, alice, bob := pair(t)
	everything := list{"#", "$", "$weft/x"}
	bob.node.config["subscribe"] = everything
	alice.node.config["routes"] = list{object{"name": "all", "match": everything, "to": "hub", "qos": 2}}
	m.start()
	var mu sync.Mutex
	var got []string
	subscribed := make(chan paho.Token, 1)
	client := dial(t, bob.broker.addr, "record", func(c paho.Client) {
		c.AddRoute("#", func(_ paho.Client, m paho.Message) { // to paho it matches $-topics too
			mu.Lock()
			defer mu.Unlock()
			got = append(got, m.Topic()+"\x00"+string(m.Payload()))
		})
		subscribed <- c.SubscribeMultiple(map[string]byte{"#": 2, "$": 2, "$weft/x": 2}, nil)
	})
	requireDone(t, <-subscribed)
	defer client.Disconnect(0)
	sender := dial(t, alice.broker.addr, "sender", nil)
	var want []string
	for i, topic := range nasty {
		payload := fmt.Sprintf("payload %d \x00\xff", i)
		requireDone(t, sender.Publish(topic, byte(i%3), false, payload))
		want = append(want, topic+"\x00"+payload)
	}
	eventually(t, 20*time.Second, func() error {
		mu.Lock()
		defer mu.Unlock()
		for _, w := range want {
			if !slices.Contains(got, w) {
				return fmt.Errorf("%d of %d arrived, not %.100q", len(got), len(want), w)
			}
		}
		return nil
	})
	mu.Lock()
	defer mu.Unlock()
	require.Len(t, got, len(want), "and nothing else")
}
