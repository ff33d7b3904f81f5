package mqtt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/url"
	"regexp"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"github.com/weft-relay/weft/transports"
)

const (
	protocol311 = 4
	bridgeBit   = 0x80 // asks the broker for no echoes and for retain flags as they were published; Mosquitto's extension

	// bridgeAttempts is after how many connections that the broker cuts without a CONNACK the bit is left out.
	bridgeAttempts = 3
	// stalledAfter is how long a ping may be without an answer before the session reports that nothing moves.
	stalledAfter = 3 * time.Second
	// complainAgain is how long the same reason for having no connection is not logged again.
	complainAgain = time.Minute
	// retrySubscriptions is the pause before a filter that the broker has refused is tried again.
	retrySubscriptions = time.Minute
)

// run connects, serves the connection and connects again, until the session is closed.
func (s *Session) run() {
	s.setState(transports.Connecting, "")
	pause := s.cfg.ReconnectMin
	bit := bridge{}
	said := complaints{}
	for s.ctx.Err() == nil {
		refused := bit.refused
		l, present, err := s.connect(&bit)
		if bit.refused != refused {
			l, present, err = s.connect(&bit)
		}
		testing := false
		if err == nil {
			clear(said)
			began := time.Now()
			err = s.serve(l, present, bit.refused)
			if time.Since(began) > s.cfg.ReconnectMax || s.out.suspects() {
				pause = s.cfg.ReconnectMin
			}
			testing = s.out.testing()
		}
		if s.ctx.Err() != nil {
			return
		}
		if s.cfg.EndWhenRefused && transports.IsPermanent(err) {
			s.setState(transports.Down, err.Error())
			s.out.close()
			s.cancel()
			return
		}
		s.setState(transports.Connecting, err.Error())
		if said.due(err, time.Now()) {
			s.log.Warn("no broker connection", "url", s.cfg.address(), "error", err)
		}
		if testing {
			continue
		}
		select {
		case <-time.After(pause/2 + rand.N(pause/2+1)):
		case <-s.ctx.Done():
		}
		pause = min(pause*2, s.cfg.ReconnectMax)
	}
}

// complaints is when each reason was logged since there was a connection.
type complaints map[string]time.Time

// passing is what is another at each attempt in the text of an error: this side's address, and the time in that of a certificate.
var passing = regexp.MustCompile(`\S+->|current time \S+`)

// due reports whether a reason is new, or was logged a minute ago.
func (c complaints) due(err error, now time.Time) bool {
	reason := passing.ReplaceAllString(err.Error(), "")
	maps.DeleteFunc(c, func(_ string, last time.Time) bool { return now.Sub(last) >= complainAgain })
	if _, said := c[reason]; said {
		return false
	}
	c[reason] = now
	return true
}

// bridge is what is known of the broker's handling of the bridge bit.
type bridge struct {
	accepted bool // once: then a cut connection has another reason
	refused  bool
	cut      int // connections that ended without a CONNACK
}

// connect makes one attempt. Where the broker refuses the bridge bit the next attempt leaves it out.
func (s *Session) connect(bit *bridge) (l *link, present bool, err error) {
	conn, err := dial(s.ctx, &s.cfg)
	if err != nil {
		return nil, false, fmt.Errorf("connect broker: %w", err)
	}
	l = newLink(conn, s.store)
	stop := context.AfterFunc(s.ctx, func() { conn.Close() })
	defer stop()
	conn.SetDeadline(time.Now().Add(connectTimeout))
	ack, err := s.handshake(l, bit)
	if err != nil {
		conn.Close()
		return nil, false, err
	}
	conn.SetDeadline(time.Time{})
	if _, plain := conn.(*net.TCPConn); plain { // TLS and WebSocket keep bytes that the kernel knows nothing of
		l.answers = s.out.answers
	}
	bit.accepted = !bit.refused
	return l, ack.SessionPresent, nil
}

func (s *Session) handshake(l *link, bit *bridge) (*packets.ConnackPacket, error) {
	if err := s.connectPacket(!bit.refused).Write(l.conn); err != nil {
		return nil, fmt.Errorf("connect broker: %w", err)
	}
	if first, err := l.r.Peek(1); err == nil && first[0] != packets.Connack<<4 {
		return nil, errors.New("connect broker: what answers there is not an MQTT broker, check host and port") // [MQTT-3.2.0-1]
	}
	answer, err := packets.ReadPacket(l.r)
	if err != nil {
		if bit.cut++; errors.Is(err, io.EOF) && !bit.accepted && bit.cut >= bridgeAttempts {
			bit.refused = !bit.refused
		}
		return nil, fmt.Errorf("connect broker: no CONNACK: %w%s", err, s.cfg.suspicion(err))
	}
	ack := answer.(*packets.ConnackPacket)
	switch {
	case ack.ReturnCode == packets.ErrRefusedBadProtocolVersion && !bit.refused:
		bit.refused = true
		return nil, errors.New("broker refused the bridge bit: connecting without it, echoes are filtered here")
	case ack.ReturnCode != packets.Accepted:
		return nil, refusal(ack.ReturnCode)
	}
	return ack, nil
}

// refusal words the return code of a CONNACK, MQTT 3.2.2.3. What a later attempt will not cure is permanent.
func refusal(code byte) error {
	reasons := map[byte]string{
		packets.ErrRefusedBadProtocolVersion:    "MQTT 3.1.1 is not spoken there",
		packets.ErrRefusedIDRejected:            "client identifier rejected",
		packets.ErrRefusedServerUnavailable:     "server unavailable",
		packets.ErrRefusedBadUsernameOrPassword: "bad user name or password",
		packets.ErrRefusedNotAuthorised:         "bad user name or password, or a client id that is not allowed", // what Mosquitto answers to a wrong password,
	}
	err := fmt.Errorf("broker refused: return code %d", code)
	if reason, ok := reasons[code]; ok {
		err = errors.New("broker refused: " + reason)
	}
	if code == packets.ErrRefusedServerUnavailable {
		return err
	}
	return transports.Permanent(err)
}

func (s *Session) connectPacket(bridge bool) *packets.ConnectPacket {
	p := packets.NewControlPacket(packets.Connect).(*packets.ConnectPacket)
	p.ProtocolName, p.ProtocolVersion = "MQTT", protocol311
	if bridge {
		p.ProtocolVersion |= bridgeBit
	}
	p.ClientIdentifier, p.CleanSession = s.clientID, s.clean
	p.Keepalive = uint16(s.cfg.KeepAlive / time.Second)
	p.Username, p.Password = s.cfg.Username, []byte(s.cfg.Password)
	if u, err := url.Parse(s.cfg.URL); err == nil && u.User != nil && p.Username == "" {
		password, _ := u.User.Password()
		p.Username, p.Password = u.User.Username(), []byte(password)
	}
	p.UsernameFlag, p.PasswordFlag = p.Username != "", p.Username != "" && len(p.Password) > 0
	return p
}

// serve uses the connection until it fails or the session is closed, and returns why it failed.
func (s *Session) serve(l *link, present, guard bool) error {
	s.echo.on.Store(guard)
	if !present {
		s.in.reset()
	}
	s.out.connected(l, present)
	s.attach(l)
	s.log.Info("broker up", "url", s.cfg.address())
	s.connection.Go(l.flush)
	readerDone := make(chan struct{})
	s.connection.Go(func() {
		defer close(readerDone)
		l.fail(s.read(l))
	})
	s.maintain(l)
	if s.ctx.Err() != nil {
		s.hangUp(l)
	}
	l.fail(errLinkClosed)
	<-readerDone
	<-l.flushed
	for _, f := range s.out.disconnected(l) {
		s.givenUp(f)
	}
	s.detach(l)
	return l.reason()
}

// maintain keeps the connection alive and the subscriptions up to date.
func (s *Session) maintain(l *link) {
	tick := time.NewTicker(min(s.cfg.KeepAlive/4, time.Second))
	defer tick.Stop()
	s.change()
	var retry time.Time
	for {
		select {
		case <-s.changed:
			refused, err := s.reconcile(l)
			if err != nil {
				l.fail(err)
			}
			if retry = (time.Time{}); refused {
				retry = time.Now().Add(retrySubscriptions)
			}
		case now := <-tick.C:
			s.ping(l, now)
			s.sweep(now)
			if !retry.IsZero() && now.After(retry) {
				s.change()
			}
		case <-l.done:
			return
		case <-s.ctx.Done():
			return
		}
	}
}

// ping sends a PINGREQ when nothing has come for a while, and gives the connection up when nothing comes after it. Anything
// that comes is a sign of life: an answer may be queued behind a backlog. So is a long write that goes on.
func (s *Session) ping(l *link, now time.Time) {
	l.moving(now)
	last := time.Unix(0, l.lastRead.Load())
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !s.pinged.IsZero() && last.After(s.pinged):
		s.pinged = time.Time{}
	case !s.pinged.IsZero() && now.Sub(s.pinged) > s.cfg.KeepAlive:
		l.fail(fmt.Errorf("broker silent for %v", now.Sub(last).Round(time.Second)))
	}
	// A client that only receives has to send something too [MQTT-3.1.2-23].
	if s.pinged.IsZero() && now.Sub(s.lastPing) >= s.cfg.KeepAlive*3/4 {
		l.write([]byte{packets.Pingreq << 4, 0}, false)
		s.pinged, s.lastPing = now, now
	}
}

// hangUp sends the acknowledgements that are due and a DISCONNECT.
func (s *Session) hangUp(l *link) {
	s.consumers.Wait()
	s.in.sweep(func(string) bool { return true }) // settles late acknowledgements alone
	l.hurry()                                     // nothing may follow the DISCONNECT [MQTT-3.14.4-2]
	l.write([]byte{packets.Disconnect << 4, 0}, false)
	l.drain(time.Second)
}

// read takes packets from the connection until it fails.
func (s *Session) read(l *link) error {
	scratch := make([]byte, 128)
	for {
		header, body, err := readPacket(l.r, scratch)
		if err != nil {
			return fmt.Errorf("read from broker: %w", err)
		}
		if err := s.handle(l, header, body); err != nil {
			return err
		}
	}
}

func (s *Session) handle(l *link, header byte, body []byte) error {
	kind := header >> 4
	if kind == packets.Publish {
		p, err := parsePublish(header, body)
		if err != nil {
			return err
		}
		if p.QoS > 0 {
			s.out.theirs.Store(uint32(p.PacketID))
		}
		s.in.published(l, p, header&dupFlag != 0)
		return nil
	}
	if kind == packets.Pingresp {
		return nil
	}
	if len(body) < 2 {
		return fmt.Errorf("packet of type %d: %w", kind, errMalformed)
	}
	id := uint16(body[0])<<8 | uint16(body[1])
	switch kind {
	case packets.Puback, packets.Pubrec, packets.Pubcomp:
		s.out.answered(l, kind, id)
	case packets.Pubrel:
		s.in.released(l, id)
	case packets.Suback, packets.Unsuback:
		s.replies.deliver(id, body[2:])
	default:
		return fmt.Errorf("packet of type %d: %w", kind, errMalformed)
	}
	return nil
}
