package e2e_test

import (
	"context"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	"github.com/stretchr/testify/require"
)

// dial connects a client that reconnects by itself and keeps its session. It disconnects with the test.
func dial(t *testing.T, addr, id string, onConnect func(paho.Client)) paho.Client {
	t.Helper()
	opts := paho.NewClientOptions().AddBroker("tcp://" + addr).SetClientID(id).SetCleanSession(false).
		SetAutoReconnect(true).SetConnectRetry(true).SetConnectRetryInterval(50 * time.Millisecond).
		SetMaxReconnectInterval(200 * time.Millisecond).SetOnConnectHandler(onConnect)
	c := paho.NewClient(opts)
	t.Cleanup(func() { c.Disconnect(0) })
	requireDone(t, c.Connect())
	return c
}

func requireDone(t *testing.T, token paho.Token) {
	t.Helper()
	require.True(t, token.WaitTimeout(20*time.Second), "the broker does not answer")
	require.NoError(t, token.Error())
}

// load publishes numbered messages on topics PREFIX/0, PREFIX/1, … and knows which of them the broker has acknowledged. Its
// broker must not be killed unless it is stubborn.
type load struct {
	prefix string
	qos    byte
	topics int
	window int           // messages without an acknowledgement; Mosquitto takes 20 at QoS 2
	pace   time.Duration // between two messages; 0 is as fast as they are acknowledged
	pad    string        // after the number

	stubborn bool // what a lost connection has left without an acknowledgement is published again until it has one

	client paho.Client
	sent   []int // by topic; as many are acknowledged once publish has returned
}

func newLoad(t *testing.T, addr, prefix string, qos byte) *load {
	t.Helper()
	const topics = 10
	client := dial(t, addr, "load-"+strings.ReplaceAll(prefix, "/", "-"), nil)
	return &load{prefix: prefix, qos: qos, topics: topics, window: 15, client: client, sent: make([]int, topics)}
}

// publish publishes total messages more, or until ctx ends if total is 0, and returns when all are acknowledged.
func (l *load) publish(ctx context.Context, total int) error {
	type publication struct {
		paho.Token
		topic, payload string
	}
	inFlight := make(chan publication, l.window)
	failed := make(chan error, 1)
	go func() {
		var first error
		for p := range inFlight {
			answered := p.WaitTimeout(2 * time.Minute)
			for l.stubborn && answered && p.Error() != nil {
				time.Sleep(20 * time.Millisecond) // the connection may be away
				p.Token = l.client.Publish(p.topic, l.qos, false, p.payload)
				answered = p.WaitTimeout(2 * time.Minute)
			}
			if !answered {
				first = fmt.Errorf("load %s: no acknowledgement within 2 minutes", l.prefix)
			} else if err := p.Error(); err != nil && first == nil {
				first = err
			}
		}
		failed <- first
	}()
	for n := 0; (total == 0 || n < total) && ctx.Err() == nil; n++ {
		topic := n % l.topics // the next call begins with the first topic again
		name, payload := fmt.Sprintf("%s/%d", l.prefix, topic), strconv.Itoa(l.sent[topic])+" "+l.pad
		inFlight <- publication{l.client.Publish(name, l.qos, false, payload), name, payload}
		l.sent[topic]++
		if l.pace > 0 {
			time.Sleep(l.pace)
		}
	}
	close(inFlight)
	return <-failed
}

// start publishes until stop is called, which returns when all is acknowledged.
func (l *load) start(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- l.publish(ctx, 0) }()
	return func() {
		t.Helper()
		cancel()
		require.NoError(t, <-done)
	}
}

// total returns how many messages were sent.
func (l *load) total() int {
	n := 0
	for _, sent := range l.sent {
		n += sent
	}
	return n
}

// record is what a subscriber saw: it finds loss, repeats and inversions among the messages of loads.
type record struct {
	mu       sync.Mutex
	seen     map[string]map[int]int // by topic: how often each number came
	last     map[string]int         // by topic: the highest number that came
	inverted []string               // first arrivals behind a later one
	foreign  []string               // what no load has published
	arrived  int
	repeated int
	sessions int // how often it has subscribed
}

// newRecord subscribes to the filter with a session that the broker keeps.
func newRecord(t *testing.T, addr, filter string, qos byte) *record {
	t.Helper()
	r := &record{seen: map[string]map[int]int{}, last: map[string]int{}}
	dial(t, addr, "record-"+strings.ReplaceAll(strings.Trim(filter, "#/"), "/", "-"), func(c paho.Client) {
		token := c.Subscribe(filter, qos, func(_ paho.Client, m paho.Message) { r.take(m) })
		if token.WaitTimeout(20*time.Second) && token.Error() == nil {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.sessions++
		}
	})
	r.awaitSubscribed(t, 1)
	return r
}

// awaitSubscribed waits until the record has subscribed for the nth time.
func (r *record) awaitSubscribed(t *testing.T, nth int) {
	t.Helper()
	eventually(t, 20*time.Second, func() error {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.sessions < nth {
			return fmt.Errorf("subscribed %d times, not %d", r.sessions, nth)
		}
		return nil
	})
}

func (r *record) take(m paho.Message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.arrived++
	number, _, _ := strings.Cut(string(m.Payload()), " ")
	n, err := strconv.Atoi(number)
	if err != nil {
		r.foreign = append(r.foreign, m.Topic()+": "+string(m.Payload()))
		return
	}
	if r.seen[m.Topic()] == nil {
		r.seen[m.Topic()], r.last[m.Topic()] = map[int]int{}, -1
	}
	if r.seen[m.Topic()][n]++; r.seen[m.Topic()][n] > 1 {
		r.repeated++
		return
	}
	if n < r.last[m.Topic()] {
		r.inverted = append(r.inverted, fmt.Sprintf("%s: %d after %d", m.Topic(), n, r.last[m.Topic()]))
	}
	r.last[m.Topic()] = max(n, r.last[m.Topic()])
}

// arrivals returns how many messages came, repeats included.
func (r *record) arrivals() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.arrived
}

// count returns how often a number came on a topic.
func (r *record) count(topic string, number int) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.seen[topic][number]
}

// missing returns how many of the load's messages, from a number on, have not come, and says where the first is.
func (r *record) missing(l *load, from int) (n int, first string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for topic, sent := range l.sent {
		name := fmt.Sprintf("%s/%d", l.prefix, topic)
		for i := from; i < sent; i++ {
			if r.seen[name][i] == 0 {
				if n++; n == 1 {
					first = fmt.Sprintf("%s number %d of %d", name, i, sent)
				}
			}
		}
	}
	return n, first
}

// awaitAll waits until all messages of the load have come.
func (r *record) awaitAll(t *testing.T, l *load, within time.Duration) {
	t.Helper()
	r.awaitFrom(t, l, 0, within)
}

// awaitFrom waits until all messages of the load from a number on have come.
func (r *record) awaitFrom(t *testing.T, l *load, number int, within time.Duration) {
	t.Helper()
	eventually(t, within, func() error {
		if n, first := r.missing(l, number); n > 0 {
			return fmt.Errorf("%d of %d messages have not come, the first is %s; %d came, %d of them again", n, l.total(), first, r.arrivals(), r.repeats())
		}
		return nil
	})
}

// awaitMore waits until n more messages have come.
func (r *record) awaitMore(t *testing.T, n int, within time.Duration) {
	t.Helper()
	r.awaitArrivals(t, r.arrivals()+n, within)
}

// awaitArrivals waits until so many messages have come in all, repeats included.
func (r *record) awaitArrivals(t *testing.T, want int, within time.Duration) {
	t.Helper()
	eventually(t, within, func() error {
		if have := r.arrivals(); have < want {
			return fmt.Errorf("%d messages came, %d are wanted", have, want)
		}
		return nil
	})
}

func (r *record) repeats() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.repeated
}

// requireOrder fails the test if a message came first behind a later one of its topic, or came from nowhere.
func (r *record) requireOrder(t *testing.T) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	require.Empty(t, r.inverted, "the order was lost")
	require.Empty(t, r.foreign, "messages that nobody has published")
}

// requireOnce fails the test if a message came twice.
func (r *record) requireOnce(t *testing.T) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for topic, seen := range r.seen {
		for n, times := range seen {
			require.Equal(t, 1, times, "%s number %d came %d times, and %d messages again in all", topic, n, times, r.repeated)
		}
	}
}

// topics returns the topics that something came on.
func (r *record) topics() map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.last)
}
