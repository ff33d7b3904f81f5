// Package matching decides which MQTT topics a topic filter matches: one filter against one topic ([Match]), a topic
// against very many filters with their owners ([Set]), and filters against filters ([Covers], [Overlaps], [Cover]).
//
// The rules are those of section 4.7 of MQTT 3.1.1 and 5, which agree; clauses are numbered as in 3.1.1. A topic is split
// into levels at each "/", and an empty level is a level like any other: "/a" has two. Nothing is normalised: topics are
// compared byte by byte [MQTT-4.7.3-4].
//
// Only the Validate functions and [NewSet] judge what they are given. All others take valid filters and topics; given
// others they do not panic, but what they return means nothing.
package matching

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// MaxLength is the greatest length of a filter or a topic in bytes [MQTT-4.7.3-3].
const MaxLength = 65535

const (
	one  = "+" // matches any one level
	many = "#" // matches its parent level and all below
)

// sharePrefix begins a shared subscription, "$share/NAME/FILTER" (MQTT 5, section 4.8.2).
const sharePrefix = "$share/"

// ValidateFilter returns an error that says where and why, and what would be right, unless filter is a topic filter:
// 1 to [MaxLength] bytes of UTF-8 without U+0000, "+" and "#" only as whole levels [MQTT-4.7.1-3], and "#" only as the
// last one [MQTT-4.7.1-2]. It accepts a shared subscription; [ValidateInterest] does not.
func ValidateFilter(filter string) error {
	if err := validateText(filter); err != nil {
		return fmt.Errorf("filter %s: %w", quote(filter), err)
	}
	number := 0
	for level := range strings.SplitSeq(filter, "/") {
		number++
		if len(level) > 1 && strings.ContainsAny(level, "+#") {
			return fmt.Errorf(`filter %s: level %d is %s, but "+" and "#" must be a level by themselves, as in "a/+/c" and "a/#"`,
				quote(filter), number, quote(level))
		}
		if level == many && number <= strings.Count(filter, "/") {
			return fmt.Errorf(`filter %s: level %d is "#", which must be the last one: end the filter there, or write "+" for any one level`,
				quote(filter), number)
		}
	}
	return nil
}

// ValidateTopic returns an error that says where and why unless topic is a topic name: 1 to [MaxLength] bytes of UTF-8
// without U+0000 and without wildcards [MQTT-4.7.1-1].
func ValidateTopic(topic string) error {
	if err := validateText(topic); err != nil {
		return fmt.Errorf("topic %s: %w", quote(topic), err)
	}
	if at := strings.IndexAny(topic, "+#"); at >= 0 {
		return fmt.Errorf("topic %s: wildcard %q in level %d: only a filter may have wildcards, a topic names one thing",
			quote(topic), topic[at], 1+strings.Count(topic[:at], "/"))
	}
	return nil
}

var errShared = errors.New(`a shared subscription hands each message to one of its members only, so it cannot say what a site wants: ` +
	`write the filter alone, without "$share/NAME/"`)

// ValidateInterest returns an error unless filter is a topic filter that can say what a site wants: one that
// [ValidateFilter] accepts and that is no shared subscription.
func ValidateInterest(filter string) error {
	// Mosquitto takes "$share" without the rest for a broken shared subscription and ends the connection.
	if strings.HasPrefix(filter+"/", sharePrefix) {
		return fmt.Errorf("filter %s: %w", quote(filter), errShared)
	}
	return ValidateFilter(filter)
}

// validateText checks what filters and topics have in common.
func validateText(text string) error {
	switch {
	case text == "":
		return errors.New("empty: it must have at least one character") // [MQTT-4.7.3-1]
	case len(text) > MaxLength:
		return fmt.Errorf("%d bytes long: at most %d are allowed", len(text), MaxLength) // [MQTT-4.7.3-3]
	}
	if at := strings.IndexByte(text, 0); at >= 0 { // [MQTT-1.5.3-2]
		return fmt.Errorf("U+0000 at byte %d: leave it out", at+1)
	}
	if utf8.ValidString(text) {
		return nil
	}
	for at, r := range text { // [MQTT-1.5.3-1]; Go's decoder refuses surrogates and overlong forms as well
		if _, size := utf8.DecodeRuneInString(text[at:]); r == utf8.RuneError && size == 1 {
			return fmt.Errorf("byte %d (0x%02x) is not UTF-8: encode it as UTF-8", at+1, text[at])
		}
	}
	return nil
}

// quote keeps an error short, whatever a peer has sent.
func quote(text string) string {
	const most = 80
	if len(text) <= most {
		return fmt.Sprintf("%q", text)
	}
	return fmt.Sprintf("%q...", text[:most])
}
