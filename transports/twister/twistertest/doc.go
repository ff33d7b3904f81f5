// Package twistertest is a network of twisterd daemons in this process, to test against and to show things on without one.
//
// Each daemon serves JSON-RPC over HTTP on a loopback port of its own, answers the calls of Methods as the real one was measured
// to, and has the real one's traps: a k used twice is lost or aborts it, messages of one second are listed in reverse, ten idle
// connections block it, calls during the warm-up succeed and do nothing, what was not saved is gone after a kill. A test replays
// recorded requests and answers of real daemons and holds this one to them.
//
//	n, err := twistertest.New(twistertest.Options{})
//	defer n.Close()
//	a, err := n.Daemon("a")                  // adds and starts it
//	err = a.Register("mqtt_alice")           // makes the key, sends the transaction
//	n.Mine(2)                                // one block confirms her, from the next on she can send
//	err = a.Follow("mqtt_alice", "mqtt_alice")
//	client, err := rpc.New(rpc.Config{URL: a.URL()})
//
// Options and Speed say how lossy and how slow it is: by default not at all, so that what was sent has arrived when the call
// returns. Partition and Heal, HoldBlocks, Kill, Stop, Start and SetLoss make trouble.
//
// Not simulated: the rules of the block chain beyond the names of users (mining, forks), signatures and encryption (a message is
// kept from who lacks its key, its bytes are noise of the right size), retwists and favourites, trackers, and DHT routing: every
// node stores every value. Blocks reach every daemon that runs, whoever it is cut off from.
package twistertest
