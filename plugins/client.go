package plugins

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"syscall"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/weft-relay/weft/configs"
	"github.com/weft-relay/weft/transports"
	"github.com/weft-relay/weft/transports/mqtt"
)

// Client is an MQTT client of a broker, with a clean session: for people who look and try.
type Client struct {
	session *mqtt.Session
	config  mqtt.Config
}

// Message is an MQTT application message.
type Message struct {
	Topic   string
	Payload []byte
	QoS     byte // 0, 1 or 2
	Retain  bool
}

// NewClient returns a client of the broker at the URL, mqtt://[USER:PASSWORD@]HOST[:PORT]. It connects in Start.
func NewClient(url string, log *slog.Logger) (*Client, error) {
	return newClient(mqtt.Config{URL: url}, log)
}

// NewNodeClient returns a client of the broker that the file's node stands beside. If that is built in and has users, it is one
// who may do what is wanted.
func NewNodeClient(file *configs.File, want Access, log *slog.Logger) (*Client, error) {
	section := file.Broker.(*Broker)
	config := section.remote()
	switch {
	case section.Embedded != nil:
		var err error
		if config, err = section.local(want); err != nil {
			return nil, err
		}
	case want.User != "":
		return nil, fmt.Errorf("user %q: the broker is not built in, and has no users in this file; give another in its URL", want.User)
	}
	config.ClientID = "" // the node's own session must not be taken over
	return newClient(config, log)
}

func newClient(config mqtt.Config, log *slog.Logger) (*Client, error) {
	config.EndWhenRefused = true
	session, err := mqtt.New(config, nil, nil, log)
	return &Client{session, config}, err
}

// Start begins connecting, and goes on until Close or until the broker refuses the login. Where no connection can be made it
// says so instead, within 10 s.
func (c *Client) Start(ctx context.Context) error {
	var network *net.OpError
	switch err := c.config.Reach(ctx); {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, syscall.ECONNREFUSED) && errors.As(err, &network):
		return fmt.Errorf("no broker at %s: connection refused", network.Addr)
	case err != nil:
		return fmt.Errorf("connect broker: %w", err)
	}
	return c.session.Start(ctx)
}

// Close disconnects.
func (c *Client) Close() error { return c.session.Close() }

// Publish returns when the broker has taken the message over; at QoS 0, when it was sent. It waits for a connection. When the
// context ends first, the error says what keeps the broker away.
func (c *Client) Publish(ctx context.Context, m Message) error {
	msg := message.NewMessageWithContext(ctx, "", m.Payload)
	msg.Metadata.Set(transports.MetaQoS, strconv.Itoa(int(m.QoS)))
	if m.Retain {
		msg.Metadata.Set(transports.MetaRetain, "1")
	}
	return c.explain(c.session.Publish(m.Topic, msg))
}

// Subscribe calls deliver for each message whose topic matches one of the filters, in order, until it returns false or the
// context ends; then Subscribe returns nil. It ends with an error when the broker refuses the login.
func (c *Client) Subscribe(ctx context.Context, filters []string, qos byte, deliver func(Message) bool) error {
	wanted := make(map[string]byte, len(filters))
	for _, filter := range filters {
		wanted[filter] = qos
	}
	incoming, err := c.session.SubscribeAll(ctx, wanted)
	if err != nil {
		return c.explain(err)
	}
	for msg := range incoming {
		level, _ := strconv.Atoi(msg.Metadata.Get(transports.MetaQoS))
		more := deliver(Message{
			Topic:   msg.Metadata.Get(transports.MetaTopic),
			Payload: msg.Payload,
			QoS:     byte(level),
			Retain:  msg.Metadata.Get(transports.MetaRetain) != "",
		})
		msg.Ack()
		if !more {
			return nil
		}
	}
	if ctx.Err() == nil {
		return c.explain(mqtt.ErrClosed)
	}
	return nil
}

// explain adds what keeps the broker away, or says that alone where it has ended the session.
func (c *Client) explain(err error) error {
	report := c.session.Report()
	switch {
	case err == nil || report.Detail == "":
		return err
	case errors.Is(err, mqtt.ErrClosed):
		return errors.New(report.Detail)
	}
	return fmt.Errorf("%w: %s", err, report.Detail)
}

// Connected says whether there is a connection now.
func (c *Client) Connected() bool { return c.session.Report().State == transports.Up }
