package rename

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/weft-relay/weft/matching"
)

// template makes topics out of others.
type template struct {
	from, to string
	levels   []string // of from
	wild     int      // how many of them are "+"
	parts    []part   // of to
}

// part is text, or stands for what a wildcard has matched.
type part struct {
	text string
	plus int  // the number of the "+", from 1; 0 if it is none
	rest bool // the "#"
}

const restLevel = "{#}"

// parse reads the template to, for topics that from matches.
func parse(from, to string) (*template, error) {
	t := &template{from: from, to: to, levels: strings.Split(from, "/")}
	for _, level := range t.levels {
		if level == "+" {
			t.wild++
		}
	}
	if to == "" {
		return nil, errors.New(`no topic; give one such as "site/alice/{1}"`)
	}
	text := to
	if to == restLevel || strings.HasSuffix(to, "/"+restLevel) {
		if t.levels[len(t.levels)-1] != "#" {
			return nil, fmt.Errorf(`%q has {#}, but from has no "#"`, to)
		}
		text = strings.TrimSuffix(strings.TrimSuffix(to, restLevel), "/")
		defer func() { t.parts = append(t.parts, part{rest: true}) }()
	}
	return t, t.parseText(text)
}

// parseText reads a template without {#}.
func (t *template) parseText(text string) error {
	for text != "" {
		before, after, found := strings.Cut(text, "{")
		if strings.ContainsAny(before, "+#}\x00") {
			return fmt.Errorf(`%q has one of + # } at a wrong place; write {1} for what the first "+" has matched, and {#} as the last level for "#"`, t.to)
		}
		if before != "" {
			t.parts = append(t.parts, part{text: before})
		}
		if !found {
			break
		}
		name, rest, closed := strings.Cut(after, "}")
		n, err := strconv.Atoi(name)
		switch {
		case name == "#":
			return fmt.Errorf("%q has {#} amid other levels or text; it must be the last level, by itself", t.to)
		case !closed || err != nil || n < 1:
			return fmt.Errorf(`%q has a { that begins neither {1}, {2} and so on nor {#}`, t.to)
		case n > t.wild:
			return fmt.Errorf(`%q has {%d}, but from has %d levels "+"`, t.to, n, t.wild)
		}
		t.parts = append(t.parts, part{plus: n})
		text = rest
	}
	return nil
}

// match takes the topic apart: what each "+" has matched, appended to plus, and what "#" has. "a/#" matches "a" too, and then there is no rest.
func (t *template) match(topic string, plus []string) (captured []string, rest string, hasRest, ok bool) {
	if t.levels[0] == "+" || t.levels[0] == "#" {
		if strings.HasPrefix(topic, "$") { // [MQTT-4.7.2-1]
			return plus, "", false, false
		}
	}
	remains, more := topic, true
	for _, level := range t.levels {
		if level == "#" {
			return plus, remains, more, true
		}
		if !more {
			return plus, "", false, false
		}
		var name string
		name, remains, more = strings.Cut(remains, "/")
		switch level {
		case "+":
			plus = append(plus, name)
		case name:
		default:
			return plus, "", false, false
		}
	}
	return plus, "", false, !more
}

// rename returns the new topic, or false if from does not match. The new one may be no valid topic.
func (t *template) rename(topic string) (string, bool) {
	var room [8]string
	plus, rest, hasRest, ok := t.match(topic, room[:0])
	if !ok {
		return "", false
	}
	var b strings.Builder
	b.Grow(len(t.to) + len(topic))
	for i, p := range t.parts {
		switch {
		case p.plus > 0:
			b.WriteString(plus[p.plus-1])
		case !p.rest:
			b.WriteString(p.text)
		case hasRest:
			if i > 0 {
				b.WriteByte('/')
			}
			b.WriteString(rest)
		}
	}
	return b.String(), true
}

// loops reports whether topics that the template makes may be renamed again and again, to something else each time. In case of doubt it does.
func (t *template) loops() bool {
	if !t.mayMatchItself() || t.shortens() {
		return false
	}
	// The template taken for a topic stands for all that it makes: if it is renamed to itself, so are they.
	again, ok := t.rename(t.to)
	return !ok || again != t.to
}

// shortens reports whether each topic has fewer levels than the one that it is made of, which comes to an end.
func (t *template) shortens() bool {
	return strings.HasSuffix(t.to, restLevel) && strings.Count(t.to, "/")+1 < len(t.levels)
}

func (t *template) mayMatchItself() bool {
	made := strings.Split(t.to, "/")
	for i, level := range made {
		first, last := strings.Index(level, "{"), strings.LastIndex(level, "}")
		if first < 0 {
			continue
		}
		if i < len(t.levels) && !t.fits(i, level[:first], level[last+1:]) {
			return false
		}
		if level == restLevel {
			made[i] = "#"
		} else {
			made[i] = "+"
		}
	}
	return matching.Overlaps(t.from, strings.Join(made, "/"))
}

// fits reports whether a level with this beginning and end may be what the level i of from matches.
func (t *template) fits(i int, begin, end string) bool {
	level := t.levels[i]
	if i > 0 && t.levels[i-1] == "#" || level == "+" || level == "#" {
		return true
	}
	return strings.HasPrefix(level, begin) && strings.HasSuffix(level, end)
}
