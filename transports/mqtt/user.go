package mqtt

import (
	"slices"
	"strings"

	"github.com/weft-relay/weft/matching"
)

// User may connect to the built-in broker. Without Read and Write everything is allowed; an empty list is a right to nothing.
type User struct {
	Name     string   `yaml:"name" doc:"who may connect to it"`
	Password string   `yaml:"password" weft:"secret" doc:"password of the user"`
	Read     []string `yaml:"read" doc:"filters of what the user may receive"`
	Write    []string `yaml:"write" doc:"filters of what the user may publish to"`
}

func (u User) mayAll() bool { return u.Read == nil && u.Write == nil }

// MayPublish reports whether the user may publish to the topic.
func (u User) MayPublish(topic string) bool { return u.mayAll() || anyMatches(u.Write, topic) }

// MayRead reports whether the user may receive the messages of the topic.
func (u User) MayRead(topic string) bool { return u.mayAll() || anyMatches(u.Read, topic) }

// MaySubscribe reports whether the user may receive any of the messages that the filter matches.
func (u User) MaySubscribe(filter string) bool {
	return u.mayAll() || slices.ContainsFunc(u.Read, func(right string) bool { return matching.Overlaps(unshared(right), unshared(filter)) })
}

// unshared returns the filter behind the group of a shared subscription, or the filter itself.
func unshared(filter string) string {
	if rest, ok := strings.CutPrefix(filter, "$share/"); ok {
		_, filter, _ = strings.Cut(rest, "/")
	}
	return filter
}
