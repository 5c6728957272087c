package input

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"reflect"
)

// Detect tells the format from the beginning of a file.
func Detect(data []byte) (Format, error) {
	data = bytes.TrimSpace(data)
	if len(data) == 0 {
		return "", fmt.Errorf("the file is empty: %w", ErrFormat)
	}
	if data[0] == '[' {
		var list []struct {
			Conversations json.RawMessage `json:"conversations"`
		}
		if json.Unmarshal(data, &list) == nil && len(list) > 0 && list[0].Conversations != nil {
			return ShareGPT, nil
		}
		return "", ErrFormat
	}
	if data[0] != '{' {
		return detectCSV(data)
	}
	var first map[string]json.RawMessage
	if err := json.NewDecoder(bytes.NewReader(data)).Decode(&first); err != nil {
		return "", fmt.Errorf("%w (the first object does not read: %w)", ErrFormat, err)
	}
	return detectObject(first)
}

func detectObject(first map[string]json.RawMessage) (Format, error) {
	has := func(names ...string) bool {
		for _, n := range names {
			if _, ok := first[n]; !ok {
				return false
			}
		}
		return true
	}
	switch {
	case has("data") && sessionsHavePayloads(first["data"]):
		return InputsJSON, nil
	case has("requests", "block_size"):
		return Weka, nil
	case has("timestamp_start_unix_ms", "output_tokens") && (has("prompt") || has("total_hashes")):
		return Baseten, nil
	case has("chat_id", "parent_chat_id"):
		return Bailian, nil
	case has("session_id", "turns") && turnsHaveMessages(first["turns"]):
		return DAG, nil
	case has("turns"):
		return MultiTurn, nil
	case has("input_length"), has("text_input"), has("messages") && (has("timestamp") || has("output_length") || has("session_id")):
		return Mooncake, nil
	case has("messages"), has("model", "prompt"):
		return RawPayload, nil
	case has("text"), has("texts"), has("prompt"), has("request_body"):
		fields := jsonFields(reflect.TypeFor[turnLine]())
		for name := range first {
			if _, ok := fields[name]; !ok {
				return "", ErrFormat // a dataset's row: one field has a name that single_turn has too
			}
		}
		return SingleTurn, nil
	}
	return "", ErrFormat
}

func turnsHaveMessages(raw json.RawMessage) bool {
	var turns []map[string]json.RawMessage
	return json.Unmarshal(raw, &turns) == nil && len(turns) > 0 && turns[0]["messages"] != nil
}

func sessionsHavePayloads(raw json.RawMessage) bool {
	var sessions []map[string]json.RawMessage
	return json.Unmarshal(raw, &sessions) == nil && len(sessions) > 0 && sessions[0]["payloads"] != nil
}

func detectCSV(data []byte) (Format, error) {
	header, _, _ := bytes.Cut(data, []byte{'\n'})
	names, err := csv.NewReader(bytes.NewReader(header)).Read()
	if err != nil {
		return "", ErrFormat
	}
	columns := map[string]bool{}
	for _, n := range names {
		columns[n] = true
	}
	switch {
	case columns["TIMESTAMP"] && columns["ContextTokens"] && columns["GeneratedTokens"]:
		return Azure, nil
	case columns["Timestamp"] && columns["Request tokens"] && columns["Response tokens"]:
		return BurstGPT, nil
	}
	return "", ErrFormat
}
