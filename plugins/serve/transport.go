package serve

import (
	"context"
	"crypto/ed25519"
	"errors"
	"log/slog"
	"reflect"
	"strconv"

	"github.com/ThreeDotsLabs/watermill/message"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pluginv1 "github.com/weft-relay/weft/plugins/proto/weft/plugin/v1"
	"github.com/weft-relay/weft/transports"
)

// Transport is a type of transport: the name that configurations have for it, and its constructor. If the pointer to its Config has a method
// SetNode(transports.Node), that is called before the constructor; the node's own key is not given away.
func Transport[C any, T transports.Transport](name string, construct func(C, *slog.Logger) (T, error)) Type {
	_, keeps := reflect.TypeAssert[transports.Directory](reflect.Zero(reflect.TypeFor[T]()))
	return Type{
		kind: pluginv1.Kind_KIND_TRANSPORT, name: name, directory: keeps, config: func() any { return new(C) },
		transport: func(config any, log *slog.Logger) (transports.Transport, error) { return construct(*config.(*C), log) },
	}
}

// carriers is the TransportService.
type carriers struct {
	pluginv1.UnimplementedTransportServiceServer
	*server
}

// carrier is an open transport.
type carrier struct{ transports.Transport }

func (s carriers) Open(ctx context.Context, request *pluginv1.TransportServiceOpenRequest) (*pluginv1.TransportServiceOpenResponse, error) {
	t, err := s.find(pluginv1.Kind_KIND_TRANSPORT, request.Type)
	if err != nil {
		return nil, err
	}
	config, err := t.decode(request.Options)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	if aware, ok := config.(interface{ SetNode(transports.Node) }); ok {
		aware.SetNode(newNode(request))
	}
	made, err := t.transport(config, s.logger(t.name, request.Instance))
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	if err := made.Start(ctx); err != nil {
		return nil, err
	}
	return &pluginv1.TransportServiceOpenResponse{Handle: s.hold(carrier{made})}, nil
}

func newNode(request *pluginv1.TransportServiceOpenRequest) transports.Node {
	n := transports.Node{
		Name: request.Node.GetName(), Transport: request.Instance, DataDir: request.Node.GetDataDir(),
		Key: func() (ed25519.PrivateKey, error) {
			return nil, errors.New("a plugin is not given the node's key; use one of its own")
		},
	}
	for _, peer := range request.Node.GetPeers() {
		n.Peers = append(n.Peers, transports.Peer{Name: peer.Name, Key: peer.Key})
	}
	return n
}

func (s carriers) Close(_ context.Context, request *pluginv1.TransportServiceCloseRequest) (*pluginv1.TransportServiceCloseResponse, error) {
	return &pluginv1.TransportServiceCloseResponse{}, s.drop(request.Handle)
}

// power returns the open transport as what it may be besides.
func power[P any](s *server, handle uint64) (P, error) {
	c, err := instance[carrier](s, handle)
	if err != nil {
		return *new(P), err
	}
	has, ok := c.Transport.(P)
	if !ok {
		return has, status.Errorf(codes.Unimplemented, "the transport is no %v", reflect.TypeFor[P]())
	}
	return has, nil
}

func (s carriers) Publish(ctx context.Context, request *pluginv1.PublishRequest) (*pluginv1.PublishResponse, error) {
	publisher, err := power[message.Publisher](s.server, request.Handle)
	if err != nil {
		return nil, err
	}
	answer := &pluginv1.PublishResponse{}
	var failed error // after which no frame may go, or it would overtake
	for i, f := range request.Frames {
		frame := message.NewMessage(f.Uuid, f.Payload)
		frame.SetContext(ctx)
		if f.Priority != 0 {
			frame.Metadata.Set(transports.MetaPriority, strconv.Itoa(int(f.Priority)))
		}
		err := failed
		if failed == nil {
			err = publisher.Publish(request.Topic, frame)
		}
		if err == nil {
			continue
		}
		answer.Errors = append(answer.Errors, &pluginv1.FrameError{Index: uint32(i), Reason: err.Error(), Permanent: transports.IsPermanent(err)})
		if !transports.IsPermanent(err) {
			failed = err
		}
	}
	return answer, nil
}

var states = map[transports.State]pluginv1.State{
	transports.Up: pluginv1.State_STATE_UP, transports.Connecting: pluginv1.State_STATE_CONNECTING,
	transports.Stalled: pluginv1.State_STATE_STALLED, transports.Down: pluginv1.State_STATE_DOWN,
}

func (s carriers) Report(_ context.Context, request *pluginv1.ReportRequest) (*pluginv1.ReportResponse, error) {
	c, err := instance[carrier](s.server, request.Handle)
	if err != nil {
		return nil, err
	}
	r := c.Report()
	answer := &pluginv1.ReportResponse{
		State: states[r.State], SinceUnixNano: r.Since.UnixNano(), Detail: r.Detail,
		Reconnects: r.Reconnects, BytesOut: r.BytesOut, BytesIn: r.BytesIn, Dropped: r.Dropped,
	}
	if bounded, ok := c.Transport.(transports.MaxPayloader); ok {
		answer.MaxPayload = uint64(bounded.MaxPayload())
	}
	return answer, nil
}

func (s carriers) Announce(ctx context.Context, request *pluginv1.AnnounceRequest) (*pluginv1.AnnounceResponse, error) {
	d, err := power[transports.Directory](s.server, request.Handle)
	if err != nil {
		return nil, err
	}
	return &pluginv1.AnnounceResponse{}, d.Announce(ctx, request.Profile)
}

func (s carriers) Watch(request *pluginv1.WatchRequest, stream pluginv1.TransportService_WatchServer) error {
	d, err := power[transports.Directory](s.server, request.Handle)
	if err != nil {
		return err
	}
	found, err := d.Watch(stream.Context())
	if err != nil {
		return err
	}
	for a := range found {
		if err := stream.Send(&pluginv1.WatchResponse{Node: a.Node, Profile: a.Profile}); err != nil {
			return err
		}
	}
	return errors.New("the transport watches no more")
}

// subscription is one stream of deliveries.
type subscription struct {
	stream  pluginv1.TransportService_SubscribeServer
	pending []*message.Message // delivered, not taken, in order
	number  uint64             // of the last
}

func (s carriers) Subscribe(stream pluginv1.TransportService_SubscribeServer) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	open := first.GetOpen()
	subscriber, err := power[message.Subscriber](s.server, open.GetHandle())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	frames, err := subscriber.Subscribe(ctx, open.GetTopic())
	if err != nil {
		return err
	}
	sub := &subscription{stream: stream}
	defer sub.giveBack(frames)
	defer cancel()
	taken := make(chan uint64)
	go func() { // ends with the stream
		defer close(taken)
		for {
			request, err := stream.Recv()
			if err != nil {
				return
			}
			select {
			case taken <- request.GetTaken():
			case <-ctx.Done():
				return
			}
		}
	}()
	return sub.deliver(frames, taken, int(max(open.GetWindow(), 1)))
}

// deliver passes on what comes, and acknowledges what is taken, until either ends.
func (s *subscription) deliver(frames <-chan *message.Message, taken <-chan uint64, window int) error {
	for {
		next := frames
		if len(s.pending) == window {
			next = nil
		}
		select {
		case frame, ok := <-next:
			if !ok {
				return errors.New("the transport delivers no more")
			}
			s.number++
			s.pending = append(s.pending, frame)
			err := s.stream.Send(&pluginv1.SubscribeResponse{
				Number: s.number, Uuid: frame.UUID, Payload: frame.Payload, From: frame.Metadata.Get(transports.MetaFrom),
			})
			if err != nil {
				return err
			}
		case number, ok := <-taken:
			if !ok {
				return nil
			}
			for len(s.pending) > 0 && s.number-uint64(len(s.pending)) < number {
				s.pending[0].Ack()
				s.pending = s.pending[1:]
			}
		}
	}
}

// giveBack returns what was not taken.
func (s *subscription) giveBack(frames <-chan *message.Message) {
	for _, frame := range s.pending {
		frame.Nack()
	}
	for frame := range frames {
		frame.Nack()
	}
}
