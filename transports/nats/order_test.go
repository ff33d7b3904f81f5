package nats_test

import (
	"fmt"
	"testing"

	"github.com/weft-relay/weft/transports"
	"github.com/weft-relay/weft/transports/nats"
)

// Does a frame overtake another when frames are refused and the consumer is deleted, again and again, while they flow?
func TestOrderHoldsUnderNacksAndDeletedConsumers(t *testing.T) {
	t.Parallel()
	const count = 300
	server := startServer(t)
	js := server.client(t)
	alice := startNode(t, nats.Config{URL: server.ClientURL(), Node: "alice"})
	inbox := subscribe(t, startNode(t, nats.Config{URL: server.ClientURL(), Node: "bob"}), transports.Inbox)
	sent := make(chan error, 1)
	go func() {
		var err error
		for i := 1; i <= count && err == nil; i++ {
			err = publish(t, alice, transports.Direct("bob"), frame(i))
		}
		sent <- err
	}()
	nacked := map[int]bool{}
	for next := 1; next <= count; {
		m := receive(t, inbox)
		var number int
		if _, err := fmt.Sscan(string(m.Payload), &number); err != nil || number > next {
			t.Fatalf("frame %s came when %d was due", m.Payload, next)
		}
		if number%60 == 0 && !nacked[number] {
			nacked[number] = true
			m.Nack()
			continue
		}
		if number%100 == 50 && number == next {
			if err := js.DeleteConsumer(t.Context(), "WEFT_DIRECT", "bob"); err != nil {
				t.Fatal(err)
			}
		}
		if number == next {
			next++
		}
		m.Ack()
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
}
