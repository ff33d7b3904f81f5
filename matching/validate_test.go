package matching_test

import (
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/weft-relay/weft/matching"
)

func TestValidateFilterSaysWhereAndWhy(t *testing.T) {
	long := strings.Repeat("x", matching.MaxLength)
	tests := []struct {
		filter string
		err    string // what the error must contain; "" for a valid filter
	}{
		{"#", ""},
		{"+", ""},
		{"/", ""},
		{"//", ""},
		{"/#", ""},
		{"+/#", ""},
		{"+/+", ""},
		{"/+/", ""},
		{"+/a/#", ""},
		{"a/+/+/b", ""},
		{"sport/tennis/#", ""},
		{"sport/+/player1", ""},
		{"$SYS/#", ""},
		{"$share/group/a/#", ""},
		{"Accounts payable", ""},
		{" ", ""},
		{"a b/c.d/*/>", ""},
		{"ünï/世界/\U0001F9F5", ""},
		{"\ufeffa", ""}, // not a byte order mark to strip [MQTT-1.5.3-3]
		{"\ufffd", ""},  // the replacement character itself is UTF-8
		{"a\x01\x7f", ""},
		{long, ""},

		{"", "empty"},
		{long + "x", "65536 bytes long: at most 65535"},
		{"a\x00b", "U+0000 at byte 2"},
		{"a/\xff", "byte 3 (0xff) is not UTF-8"},
		{"\ufffda\xc3", "byte 5 (0xc3)"},
		{"a\xed\xa0\x80", "byte 2 (0xed)"}, // a surrogate, U+D800
		{"\xc0\x80", "byte 1 (0xc0)"},      // U+0000, overlong
		{"\xf4\x90\x80\x80", "byte 1 (0xf4)"},
		{"a#", `level 1 is "a#"`},
		{"#a", `level 1 is "#a"`},
		{"##", `level 1 is "##"`},
		{"a+", `level 1 is "a+"`},
		{"+a", `level 1 is "+a"`},
		{"++", `level 1 is "++"`},
		{"+#", `level 1 is "+#"`},
		{"sport/tennis+", `level 2 is "tennis+"`},
		{"sport/tennis#", `level 2 is "tennis#"`},
		{"a/b+c/d", `level 2 is "b+c"`},
		{"a/+b/#", `level 2 is "+b"`},
		{"a/#/b", `level 2 is "#", which must be the last`},
		{"#/", `level 1 is "#", which must be the last`},
		{"#/#", `level 1 is "#", which must be the last`},
		{"+/#/+", `level 2 is "#", which must be the last`},
		{"/#/", `level 2 is "#", which must be the last`},
	}
	for _, tt := range tests {
		err := matching.ValidateFilter(tt.filter)
		if tt.err == "" {
			assert.NoError(t, err)
			continue
		}
		if assert.Error(t, err, "filter %q", tt.filter) {
			assert.Contains(t, err.Error(), tt.err)
			assert.Less(t, len(err.Error()), 400, "an error about a long filter is short")
		}
	}
}

func TestValidateTopicRefusesWildcards(t *testing.T) {
	for _, topic := range []string{"a", "/", "/a", "a/", "a//b", "$SYS/x", "Accounts payable", "*/>", "\U0001F9F5", " "} {
		assert.NoError(t, matching.ValidateTopic(topic))
	}
	for topic, want := range map[string]string{
		"":                          "empty",
		"+":                         `wildcard '+' in level 1`,
		"a/#":                       `wildcard '#' in level 2`,
		"a/b/c+":                    `wildcard '+' in level 3`,
		"a\x00":                     "U+0000 at byte 2",
		"\xed\xbf\xbf":              "byte 1 (0xed)",
		strings.Repeat("/", 65_536): "65536 bytes long",
	} {
		assert.ErrorContains(t, matching.ValidateTopic(topic), want)
	}
}

func TestValidateInterestRefusesSharedSubscriptions(t *testing.T) {
	for _, filter := range []string{"$share/group/a/#", "$share/g", "$share/", "$share"} {
		assert.ErrorContains(t, matching.ValidateInterest(filter), "one of its members only")
	}
	for _, filter := range []string{"a/#", "$shared/a", "$SYS/#", "a/$share/b"} {
		assert.NoError(t, matching.ValidateInterest(filter))
	}
	assert.ErrorContains(t, matching.ValidateInterest("a#"), `level 1 is "a#"`)
}

func FuzzValidate(f *testing.F) {
	for _, seed := range []string{"", "a", "a#", "+/a/#", "a/#/b", "\x00", "\xed\xa0\x80", "$share/g/a", "/", "a\n/+"} {
		f.Add(seed)
	}
	grammar := regexp.MustCompile(`(?s)\A(([^/+#]*|\+)/)*([^/+#]*|[+#])\z`)
	f.Fuzz(func(t *testing.T, text string) {
		legal := text != "" && len(text) <= 65535 && utf8.ValidString(text) && !strings.ContainsRune(text, 0)
		filterErr, topicErr := matching.ValidateFilter(text), matching.ValidateTopic(text)
		assert.Equal(t, legal && grammar.MatchString(text), filterErr == nil, "filter %q: %v", text, filterErr)
		assert.Equal(t, legal && !strings.ContainsAny(text, "+#"), topicErr == nil, "topic %q: %v", text, topicErr)
		if topicErr == nil {
			assert.True(t, matching.Match(text, text), "a topic is a filter that matches itself")
		}
	})
}
