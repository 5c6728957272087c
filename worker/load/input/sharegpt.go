package input

import (
	"fmt"

	"github.com/fleetune/fleetune/worker/load/conversation"
)

// loadShareGPT reads a list of conversations: the first message is the prompt,
// the second one's length the length of the reply.
func loadShareGPT(w *Workload, f File, opt Options) error {
	var list []struct {
		ID            string `json:"id"`
		Conversations []struct {
			Value string `json:"value"`
		} `json:"conversations"`
	}
	if err := lenient(f.Data, &list); err != nil {
		return fmt.Errorf("%s: %w", f.Name, err)
	}
	const least = 4 // shorter prompts and replies say nothing
	for _, entry := range list {
		number := w.Rows
		w.Rows++
		if len(entry.Conversations) < 2 {
			w.Skipped++
			continue
		}
		prompt, reply := entry.Conversations[0].Value, entry.Conversations[1].Value
		in, out := opt.Counter.Count(prompt), opt.Counter.Count(reply)
		if in < least || out < least {
			w.Skipped++
			continue
		}
		id := entry.ID
		if id == "" {
			id = fmt.Sprintf("entry-%06d", number)
		}
		w.Conversations = append(w.Conversations, &conversation.Conversation{ID: id, Turns: []conversation.Turn{{
			Messages: []conversation.Message{conversation.Text("user", prompt)}, InputTokens: in, MaxTokens: out,
		}}})
	}
	return nil
}
