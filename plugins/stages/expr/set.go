package expr

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/weft-relay/weft/matching"
	"github.com/weft-relay/weft/pipeline/stage"
)

// setter changes one part of a message.
type setter struct {
	key     string
	program *program
	put     func(m *stage.Message, value any) error
}

func putPayload(m *stage.Message, value any) error {
	switch v := value.(type) {
	case nil:
		return errors.New("the result is nil; where it may be, give another: x ?? \"\"")
	case string:
		m.Payload = []byte(v)
	case []byte:
		m.Payload = v
	default:
		var b bytes.Buffer
		encoder := json.NewEncoder(&b)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(v); err != nil {
			return fmt.Errorf("write as JSON: %w", err)
		}
		m.Payload = bytes.TrimSuffix(b.Bytes(), []byte("\n"))
	}
	return nil
}

func putTopic(m *stage.Message, value any) error {
	topic, ok := value.(string)
	if !ok {
		return fmt.Errorf("the result is of type %T, not a text", value)
	}
	if err := matching.ValidateTopic(topic); err != nil {
		return err
	}
	m.Topic = strings.Clone(topic) // it may be a piece of the payload
	return nil
}

func putQoS(m *stage.Message, value any) error {
	qos, ok := value.(int)
	if !ok || qos < 0 || qos > 2 {
		return fmt.Errorf("the result is %v, not 0, 1 or 2", value)
	}
	m.QoS = byte(qos)
	return nil
}

func putRetain(m *stage.Message, value any) error {
	retain, ok := value.(bool)
	if !ok {
		return fmt.Errorf("the result is of type %T, not true or false", value)
	}
	m.Retain = retain
	return nil
}
