// Package e2e tests Weft as its users run it: real `weft run` processes beside real Mosquitto brokers, joined by a real
// nats-server, each of which can be killed. There is one file for each promise; the files that begin with "harness" build
// the world they are tested in.
//
// The tests need mosquitto (`apt-get install mosquitto`). These variables change them:
//
//	WEFT_SOAK_ROUNDS   how often the kill -9 tests kill each process; default 20
//	WEFT_E2E_BUILD     flags for building weft, such as -race
//	WEFT_TWISTERD_A    a real twisterd and a user of it, http://USER:PASSWORD@HOST:PORT/TWISTER_USER, for the tests over Twister
//	WEFT_TWISTERD_B    the same for the other site; both are needed, and they may be one daemon
//	WEFT_TWISTERD_C    the same for a third, without which one test is skipped
//
// Without them Twister is simulated. transports/twister/README.md says what real ones need.
package e2e
