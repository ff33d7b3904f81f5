// Package e2e tests Weft as its users run it: real `weft run` processes beside real Mosquitto brokers, joined by a real
// nats-server, each of which can be killed. There is one file for each promise; the files that begin with "harness" build
// the world they are tested in.
//
// The tests need mosquitto (`apt-get install mosquitto`). Two variables change them:
//
//	WEFT_SOAK_ROUNDS   how often the kill -9 tests kill each process; default 20
//	WEFT_E2E_BUILD     flags for building weft, such as -race
package e2e
