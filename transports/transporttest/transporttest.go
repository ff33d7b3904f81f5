// Package transporttest holds transports to the promises of package transports. An implementation's test calls [Run]
// with a real network and what it declares beyond the promises that all transports make.
package transporttest

import (
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

// Run runs the suite. Each test opens a network of its own; what open starts is ended by t.Cleanup.
func Run(t *testing.T, features Features, open func(t *testing.T) Network) {
	tests := []struct {
		name  string
		run   func(*testing.T, *bench)
		needs bool
	}{
		{"FramesArriveInOrder", framesArriveInOrder, true},
		{"FrameIsGivenBackAsTakenOnlyAfterTheOnesBeforeIt", takenInOrder, features.Stores},
		{"NackedFrameComesBeforeLaterOnes", nackedFrameComesBeforeLaterOnes, true},
		{"UnackedFrameComesToTheNextSubscriber", unackedFrameComesToTheNextSubscriber, features.Stores},
		{"AbsentReceiverGetsFramesLater", absentReceiverGetsFramesLater, features.Stores},
		{"AbsentFollowerGetsFramesLater", absentFollowerGetsFramesLater, features.Stores},
		{"FrameSentTwiceArrivesOnce", frameSentTwiceArrivesOnce, features.Deduplicates},
		{"SameUUIDToTwoPeersArrivesAtBoth", sameUUIDToTwoPeersArrivesAtBoth, true},
		{"BroadcastReachesFollowersOnly", broadcastReachesFollowersOnly, true},
		{"DirectReachesItsPeerOnly", directReachesItsPeerOnly, true},
		{"TooLargeIsPermanent", tooLargeIsPermanent, true},
		{"UnknownTopicIsRefused", unknownTopicIsRefused, true},
		{"PublishHonoursContext", publishHonoursContext, true},
		{"FramesSentWithoutWaitingArriveInOrder", framesSentWithoutWaitingArriveInOrder, true},
		{"NackSkipsNoFrameInFlight", nackSkipsNoFrame, true},
		{"FailedSendSkipsNoFrame", failedSendSkipsNoFrame, true},
		{"TooLargeSkipsNoFrame", tooLargeSkipsNoFrame, true},
		{"SendHonoursContext", sendHonoursContext, true},
		{"CloseEndsChannels", closeEndsChannels, true},
		{"ContextEndsSubscription", contextEndsSubscription, true},
		{"ManyOriginsKeepTheirOrders", manyOriginsKeepTheirOrders, true},
		{"DirectoryShowsLatestProfiles", directoryShowsLatestProfiles, true},
		{"OpenDirectoryShowsLatestWishes", openDirectoryShowsLatestWishes, true},
		{"SenderIsNamed", senderIsNamed, true},
		{"ReportFollowsConnection", reportFollowsConnection, true},
		{"StartsWithoutNetwork", startsWithoutNetwork, features.Restarts},
		{"PublishWaitsForNetwork", publishWaitsForNetwork, features.Restarts},
		{"NothingIsLostWhenNetworkRestarts", nothingIsLostWhenNetworkRestarts, features.Restarts && features.Stores},
		{"FrameInHandSurvivesRestart", frameInHandSurvivesRestart, features.Restarts && features.Stores},
		{"FramesInFlightSurviveRestart", framesInFlightSurviveRestart, features.Restarts},
		{"DirectorySurvivesRestart", directorySurvivesRestart, features.Restarts},
		{"OpenDirectorySurvivesRestart", openDirectorySurvivesRestart, features.Restarts},
	}
	for _, test := range tests {
		if !test.needs {
			continue
		}
		t.Run(test.name, func(t *testing.T) {
			noLeaks(t)
			b := &bench{network: open(t), waits: !features.Stores}
			test.run(t, b)
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
	network Network
	waits   bool // Publish waits for the recipient
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
func (b *bench) node(t *testing.T, name string, follow ...string) *node {
	t.Helper()
	transport := b.network.Node(t, name, follow...)
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
