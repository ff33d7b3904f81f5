package e2e_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/pipeline"
	"github.com/weft-relay/weft/pipeline/identity"
)

// A peer sends what the specification allows and the receiving broker does not take: Mosquitto hangs up on a topic of more
// than 200 levels, or with a control character [MQTT-1.5.3-2]. Does the node put it aside with a reason, and go on?
func TestMessageThatTheReceivingBrokerHangsUpOnIsPutAside(t *testing.T) {
	for name, topic := range map[string]string{"levels": strings.Repeat("x/", 250), "control": "doors/\x01"} {
		t.Run(name, func(t *testing.T) {
			m, alice, bob := pair(t)
			m.start()
			sub := bob.broker.sub("-t", "#", "-q", "1", "-F", "%t %p")
			dead := bob.broker.sub("-t", "$weft/dead", "-F", "%p")
			aliceID, err := identity.Load(alice.node.dataDir())
			require.NoError(t, err)
			conn := m.nats.connect()
			require.NoError(t, conn.PublishMsg(&nats.Msg{
				Subject: "weft.direct.bob", Data: sealed(t, aliceID, "alice", "bob", key(t, bob), topic, 1), Header: nats.Header{"Nats-Msg-Id": {"x/bob/x"}},
			}))
			require.NoError(t, conn.Flush())
			alice.broker.pub("-t", "doors/1", "-q", "1", "-m", "open")
			eventuallyHas(t, sub, "doors/1 open")
			var letters []string
			eventually(t, 20*time.Second, func() error { // another client, which may lag
				if letters = messages(dead); len(letters) == 0 {
					return errors.New("no dead letter")
				}
				return nil
			})
			require.Len(t, letters, 1)
			require.Contains(t, letters[0], `"lane":"from alice"`)
			bob.node.await(5*time.Second, func(s pipeline.Status) error {
				if s.Outgoing.DeadLetters != 1 || s.Incoming.Refused["broker"] != 1 {
					return fmt.Errorf("%d dead letters, refused: %v", s.Outgoing.DeadLetters, s.Incoming.Refused)
				}
				return nil
			})
		})
	}
}
