package e2e_test

import (
	"slices"
	"testing"
)

// Loop guards that look at the content take a repeat for an echo. Do 100 equal messages on one topic all arrive?
func TestLegitimateRepeatsArrive(t *testing.T) {
	m, alice, bob := pair(t)
	m.start()
	for _, qos := range []string{"0", "1", "2"} {
		sub := bob.broker.sub("-t", "bell/"+qos, "-q", "2", "-F", "%t %p")
		alice.broker.pub("-t", "bell/"+qos, "-q", qos, "-m", "ring", "--repeat", "100")
		awaitLines(t, sub, slices.Repeat([]string{"bell/" + qos + " ring"}, 100)...)
	}
}

// The same where both sites say the same at the same time: what comes from the other is no echo.
func TestEqualMessagesOfTwoSitesAreBothDelivered(t *testing.T) {
	m, alice, bob := pair(t)
	m.start()
	atAlice := alice.broker.sub("-t", "bell", "-q", "1", "-F", "%p")
	atBob := bob.broker.sub("-t", "bell", "-q", "1", "-F", "%p")
	for range 10 {
		alice.broker.pub("-t", "bell", "-q", "1", "-m", "ring")
		bob.broker.pub("-t", "bell", "-q", "1", "-m", "ring")
	}
	awaitLines(t, atAlice, slices.Repeat([]string{"ring"}, 20)...)
	awaitLines(t, atBob, slices.Repeat([]string{"ring"}, 20)...)
}
