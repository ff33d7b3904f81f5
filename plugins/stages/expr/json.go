package expr

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// json decodes the payload, once a message.
func (m *machine) json() (any, error) {
	if !m.hasJSON {
		m.hasJSON = true
		if m.jsonErr = m.spend(int64(len(m.names.Payload))); m.jsonErr == nil {
			m.names.JSON, m.jsonErr = decode(m.names.Payload)
		}
	}
	return m.names.JSON, m.jsonErr
}

// decode makes whole numbers int, as far as these reach, and all others float64.
func decode(payload []byte) (any, error) {
	decoder := json.NewDecoder(bytes.NewReader(payload))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, errors.New("the payload is no JSON: it ends too early")
		}
		return nil, fmt.Errorf("the payload is no JSON: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("the payload is no JSON: something follows after its end")
	}
	return convert(value)
}

func convert(value any) (any, error) {
	var err error
	switch v := value.(type) {
	case json.Number:
		return convertNumber(string(v))
	case []any:
		for i := range v {
			if v[i], err = convert(v[i]); err != nil {
				return nil, err
			}
		}
	case map[string]any:
		for key := range v {
			if v[key], err = convert(v[key]); err != nil {
				return nil, err
			}
		}
	}
	return value, nil
}

func convertNumber(text string) (any, error) {
	if n, err := strconv.ParseInt(text, 10, strconv.IntSize); err == nil {
		return int(n), nil
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return nil, fmt.Errorf("the payload has a number too large: %.40s", text)
	}
	return n, nil
}
