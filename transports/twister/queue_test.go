package twister

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Peers who send all the time are owed a receipt whenever a post may go.
func TestReceiptsGoFirstAndDoNotTakeAllPosts(t *testing.T) {
	var q queue
	for _, w := range []post{{to: "low"}, {to: "high", priority: 1}} {
		q.push(&waiting{post: w})
	}
	var order []string
	for range 5 {
		for _, to := range []string{bob, "mqtt_carol"} {
			q.push(&waiting{post: post{to: to, receipt: true}})
		}
		w := q.pop()
		q.unpop(w) // an attempt that failed
		require.Same(t, w, q.first())
		q.posted(q.pop())
		order = append(order, w.to)
	}
	require.Equal(t, []string{bob, "high", "mqtt_carol", "low", bob}, order)
}

// What a frame cannot take along, such as what is missing, is not held back by more frames.
func TestFrameTakesTheReceiptsPlaceOnce(t *testing.T) {
	var q queue
	for _, w := range []post{{to: bob}, {to: "mqtt_carol", priority: 9}, {to: bob, priority: 1}, {to: bob, receipt: true}} {
		q.push(&waiting{post: w})
	}
	var order []post
	for q.len() > 0 {
		w := q.pop()
		q.posted(w)
		order = append(order, w.post)
	}
	require.Equal(t, []post{{to: bob, priority: 1}, {to: bob, receipt: true}, {to: "mqtt_carol", priority: 9}, {to: bob}}, order)
}
