package twistertest

import (
	"errors"
	"net/http"
	"time"
)

var (
	errObject    = refuse(-32600, "Invalid Request object")
	errMethod    = refuse(-32600, "Missing method")
	errMethodStr = refuse(-32600, "Method must be a string")
	errParams    = refuse(-32600, "Params must be an array")
	errTopLevel  = refuse(-32700, "Top-level object parse error")
	errSyntax    = refuse(-32700, "Parse error")
)

// execute carries out a request or a batch of them, in order. It reports false when no answer comes.
func (s *server) execute(body string) (status int, answer string, ok bool) {
	value, err := parseJSON(body)
	if err != nil {
		return s.outcome(nil, errSyntax, nil)
	}
	switch v := value.(type) {
	case map[string]any:
		result, err, ok := s.one(v)
		if !ok {
			return 0, "", false
		}
		return s.outcome(result, err, v["id"])
	case []any:
		return s.batch(v)
	}
	return s.outcome(nil, errTopLevel, nil)
}

// batch answers 200 whatever its members do.
func (s *server) batch(list []any) (status int, answer string, ok bool) {
	answers := make([]any, 0, len(list))
	for _, member := range list {
		object, isObject := member.(map[string]any)
		var result any
		err := errObject
		if isObject {
			if result, err, ok = s.one(object); !ok {
				return 0, "", false
			}
		}
		answers = append(answers, envelope(result, err, object["id"]))
	}
	return http.StatusOK, string(appendJSON(nil, answers)) + "\n", true
}

// one carries out one call. It reports false when no answer comes: the daemon ended, the call never returns, or a fault is set.
func (s *server) one(object map[string]any) (result any, refused error, ok bool) {
	name, list, err := parseCall(object)
	if err != nil {
		return nil, err, true
	}
	fault := s.d.faultOf(name)
	if fault == DropRequest || !s.sleep(s.d.pace(name)) {
		return nil, nil, false
	}
	var wait time.Duration
	hang := fault == Hang
	if !hang {
		result, refused = s.d.call(name, params{list: list, wait: &wait, hang: &hang})
	}
	if hang {
		<-s.stopped
	}
	return result, refused, s.sleep(wait) && !hang && fault != DropAnswer
}

func parseCall(object map[string]any) (name string, list []any, err error) {
	if name, err = methodName(object); err != nil {
		return "", nil, err
	}
	given, present := object["params"]
	if !present || given == nil {
		return name, nil, nil
	}
	list, ok := given.([]any)
	if !ok {
		return "", nil, errParams
	}
	return name, list, nil
}

func methodName(object map[string]any) (string, error) {
	value, ok := object["method"]
	if !ok || value == nil {
		return "", errMethod
	}
	name, ok := value.(string)
	if !ok {
		return "", errMethodStr
	}
	return name, nil
}

func envelope(result any, err error, id any) fields {
	var refused *refusal
	if errors.As(err, &refused) {
		return fields{{"result", nil}, {"error", fields{{"code", refused.code}, {"message", refused.message}}}, {"id", id}}
	}
	return fields{{"result", result}, {"error", nil}, {"id", id}}
}

func (s *server) outcome(result any, err error, id any) (status int, answer string, ok bool) {
	status = http.StatusOK
	var refused *refusal
	if errors.As(err, &refused) {
		switch refused.code {
		case -32600:
			status = http.StatusBadRequest
		case -32601:
			status = http.StatusNotFound
		default:
			status = http.StatusInternalServerError
		}
	}
	return status, string(appendJSON(nil, envelope(result, err, id))) + "\n", true
}
