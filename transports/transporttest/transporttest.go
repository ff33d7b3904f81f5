// Package transporttest holds transports to the promises of package transports. An implementation's test calls [Run]
// with a real network and what it declares beyond the promises that all transports make; [Cases] is the same for whoever has no
// *testing.T.
package transporttest

import (
	"context"
	"fmt"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"go.uber.org/goleak"

	"github.com/weft-relay/weft/transports"
)

// Features are what a transport declares about itself.
type Features struct {
	// Stores is set where the network keeps the frames of a receiver that is away. Where it is not, Publish may wait for the receiver.
	Stores bool
	// Deduplicates is set where the network drops a frame that is published twice in short succession.
	Deduplicates bool
	// Restarts is set where Network has Stop and Start: the tests with faults are run.
	Restarts bool
}

// Network is what the transports of one test are connected by.
type Network struct {
	// Node returns a transport that is not started: this node's name on the network and the nodes whose feeds it follows. It
	// implements message.Publisher and message.Subscriber. Run closes it.
	Node func(t *testing.T, name string, follow ...string) transports.Transport
	// Stop and Start take the network away and bring it back with all that it had acknowledged. They are called where the transport
	// declares Features.Restarts, from one goroutine at a time.
	Stop, Start func(t *testing.T)
}

// T is what the suite needs of a *testing.T, for whoever runs it outside of tests.
type T interface {
	Context() context.Context
	Cleanup(f func())
	Helper()
	Error(args ...any)
	Errorf(format string, args ...any)
	Fatal(args ...any) // ends the goroutine of the case, as do Fatalf and Skip
	Fatalf(format string, args ...any)
	Skip(args ...any) // the case has nothing to look at
	Failed() bool
}

// Case is one test of the suite.
type Case struct {
	Name string // is the promise
	// Needs are the features without which a transport does not promise it.
	Needs Features
	run   func(T, *bench)
}

// Cases returns the suite, in the order in which [Run] runs it.
func Cases() []Case {
	stores, restarts := Features{Stores: true}, Features{Restarts: true}
	both := Features{Stores: true, Restarts: true}
	return []Case{
		{"FramesArriveInOrder", Features{}, framesArriveInOrder},
		{"FrameIsGivenBackAsTakenOnlyAfterTheOnesBeforeIt", stores, takenInOrder},
		{"NackedFrameComesBeforeLaterOnes", Features{}, nackedFrameComesBeforeLaterOnes},
		{"UnackedFrameComesToTheNextSubscriber", stores, unackedFrameComesToTheNextSubscriber},
		{"AbsentReceiverGetsFramesLater", stores, absentReceiverGetsFramesLater},
		{"AbsentFollowerGetsFramesLater", stores, absentFollowerGetsFramesLater},
		{"FrameSentTwiceArrivesOnce", Features{Deduplicates: true}, frameSentTwiceArrivesOnce},
		{"SameUUIDToTwoPeersArrivesAtBoth", Features{}, sameUUIDToTwoPeersArrivesAtBoth},
		{"BroadcastReachesFollowersOnly", Features{}, broadcastReachesFollowersOnly},
		{"DirectReachesItsPeerOnly", Features{}, directReachesItsPeerOnly},
		{"TooLargeIsPermanent", Features{}, tooLargeIsPermanent},
		{"UnknownTopicIsRefused", Features{}, unknownTopicIsRefused},
		{"PublishHonoursContext", Features{}, publishHonoursContext},
		{"FramesSentWithoutWaitingArriveInOrder", Features{}, framesSentWithoutWaitingArriveInOrder},
		{"NackSkipsNoFrameInFlight", Features{}, nackSkipsNoFrame},
		{"FailedSendSkipsNoFrame", Features{}, failedSendSkipsNoFrame},
		{"TooLargeSkipsNoFrame", Features{}, tooLargeSkipsNoFrame},
		{"SendHonoursContext", Features{}, sendHonoursContext},
		{"CloseEndsChannels", Features{}, closeEndsChannels},
		{"ContextEndsSubscription", Features{}, contextEndsSubscription},
		{"ManyOriginsKeepTheirOrders", Features{}, manyOriginsKeepTheirOrders},
		{"DirectoryShowsLatestProfiles", Features{}, directoryShowsLatestProfiles},
		{"OpenDirectoryShowsLatestWishes", Features{}, openDirectoryShowsLatestWishes},
		{"SenderIsNamed", Features{}, senderIsNamed},
		{"ReportFollowsConnection", Features{}, reportFollowsConnection},
		{"StartsWithoutNetwork", restarts, startsWithoutNetwork},
		{"PublishWaitsForNetwork", restarts, publishWaitsForNetwork},
		{"NothingIsLostWhenNetworkRestarts", both, nothingIsLostWhenNetworkRestarts},
		{"FrameInHandSurvivesRestart", both, frameInHandSurvivesRestart},
		{"FramesInFlightSurviveRestart", restarts, framesInFlightSurviveRestart},
		{"DirectorySurvivesRestart", restarts, directorySurvivesRestart},
		{"OpenDirectorySurvivesRestart", restarts, openDirectorySurvivesRestart},
	}
}

// Meet says whether a transport with these features has those that are needed.
func (f Features) Meet(needs Features) bool {
	return (f.Stores || !needs.Stores) && (f.Deduplicates || !needs.Deduplicates) && (f.Restarts || !needs.Restarts)
}

// Run runs one case without a *testing.T: the transport has the features, node is as [Network.Node], and the network cannot be
// taken away. It is called in a goroutine of its own, and the case has ended when the functions given to t.Cleanup have been called.
func (c Case) Run(t T, features Features, node func(name string, follow ...string) transports.Transport) {
	c.run(t, &bench{open: node, waits: !features.Stores})
}

// Run runs the suite. Each test opens a network of its own; what open starts is ended by t.Cleanup.
func Run(t *testing.T, features Features, open func(t *testing.T) Network) {
	for _, c := range Cases() {
		if !features.Meet(c.Needs) {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			noLeaks(t)
			network := open(t)
			c.run(t, &bench{
				open: func(name string, follow ...string) transports.Transport { return network.Node(t, name, follow...) },
				stop: func() { network.Stop(t) }, start: func() { network.Start(t) }, waits: !features.Stores,
			})
		})
	}
}

// noLeaks checks, after all other cleanup, that the goroutines of the test have ended.
func noLeaks(t *testing.T) {
	before := goleak.IgnoreCurrent()
	shared := []goleak.Option{ // by all servers or hosts of the process
		goleak.IgnoreTopFunction("github.com/nats-io/nats-server/v2/server/ats.Register.func1"),
		goleak.IgnoreAnyFunction("github.com/libp2p/go-flow-metrics.(*sweeper).run"),
		// Of a stream that was being made when its server was shut down: the server never ends it.
		goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.(*fileStore).flushStreamStateLoop"),
	}
	t.Cleanup(func() {
		if !t.Failed() {
			goleak.VerifyNone(t, append(shared, before)...)
		}
	})
}

// bench is where one test's nodes are set up.
type bench struct {
	open        func(name string, follow ...string) transports.Transport
	stop, start func() // the network
	waits       bool   // Publish waits for the recipient
}

// node is a started transport.
type node struct {
	transports.Transport
	message.Publisher
	message.Subscriber
	name  string
	waits bool          // Publish waits for the recipient
	last  chan struct{} // closed when what was published last in the background is done
}

// Close closes the transport, once.
func (n *node) Close() error { return n.Transport.Close() }

// node starts a transport, which ends with the test.
func (b *bench) node(t T, name string, follow ...string) *node {
	t.Helper()
	transport := b.open(name, follow...)
	publisher, ok := transport.(message.Publisher)
	if !ok {
		t.Fatalf("%T is no message.Publisher", transport)
	}
	subscriber, ok := transport.(message.Subscriber)
	if !ok {
		t.Fatalf("%T is no message.Subscriber", transport)
	}
	if err := transport.Start(t.Context()); err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	n := &node{Transport: transport, Publisher: publisher, Subscriber: subscriber, name: name, waits: b.waits}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Errorf("close %s: %v", name, err)
		}
	})
	return n
}

// frame returns the frame of that number from the origin.
func frame(origin string, number int) *message.Message {
	return message.NewMessage(fmt.Sprintf("%s-%d", origin, number), fmt.Appendf(nil, "%s %d", origin, number))
}
