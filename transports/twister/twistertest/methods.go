package twistertest

// methods are the calls that a daemon answers.
var methods = map[string]method{
	"getinfo":                {counts: []int{0}, public: true, run: (*Daemon).getInfo, help: "getinfo\nReturns an object containing various state info."},
	"getblockcount":          {counts: []int{0}, run: (*Daemon).getBlockCount, help: "getblockcount\nReturns the number of blocks in the longest block chain."},
	"getbestblockhash":       {counts: []int{0}, run: (*Daemon).getBestBlockHash, help: "getbestblockhash\nReturns the hash of the best (tip) block in the longest block chain."},
	"stop":                   {counts: []int{0, 1}, types: "b", run: (*Daemon).stopCall, help: "stop\nStop Twister server."},
	"usernametouid":          {counts: []int{1, 2}, types: "sb", run: (*Daemon).userToID, help: "usernametouid <username> [last=true]\nReturns userid from username"},
	"uidtousername":          {counts: []int{1}, types: "i", run: (*Daemon).idToUser, help: "uidtousername <uid>\nReturns username from uid"},
	"listwalletusers":        {counts: []int{0}, public: true, run: (*Daemon).listWalletUsers, help: "listwalletusers\nReturns the list of wallet usernames."},
	"createwalletuser":       {counts: []int{1, 2}, types: "sb", unlock: true, run: (*Daemon).createWalletUser, help: "createwalletuser <username> [replacekey]"},
	"sendnewusertransaction": {counts: []int{1}, types: "s", run: (*Daemon).sendNewUser, help: "sendnewusertransaction <username>"},
	"walletpassphrase":       {counts: []int{2}, types: "si", run: (*Daemon).unlockCall, help: "walletpassphrase <passphrase> <timeout>"},

	"follow":        {counts: []int{2}, types: "sa", run: (*Daemon).follow, help: "follow <username> '[username1,...]'\nstart following users"},
	"unfollow":      {counts: []int{2}, types: "sa", run: (*Daemon).unfollow, help: "unfollow <username> '[username1,...]'\nstop following users"},
	"getfollowing":  {counts: []int{1}, types: "s", run: (*Daemon).getFollowing, help: "getfollowing <username>\nget list of users we follow"},
	"getlasthave":   {counts: []int{1, 2}, types: "sa", run: (*Daemon).getLastHave, help: "getlasthave <username> '[username1,username2,...]'"},
	"getnumpieces":  {counts: []int{1, 2}, types: "sa", run: (*Daemon).getNumPieces, help: "getnumpieces <username> '[username1,username2,...]'"},
	"torrentstatus": {counts: []int{1}, types: "s", run: (*Daemon).torrentStatus, help: "torrentstatus <username>\nreport torrent status"},

	"getpieceavailability": {
		counts: []int{2}, types: "si", run: (*Daemon).getPieceAvailability,
		help: "getpieceavailability <username> <k>\nGet piece availability (number of peers that have it)",
	},

	"newpostmsg": {
		counts: []int{3, 5}, types: "sissi", unlock: true, run: (*Daemon).newPostMsg,
		help: "newpostmsg <username> <k> <msg> [reply_n] [reply_k]\nPost a new message to swarm",
	},
	"newdirectmsg": {
		counts: []int{4, 5}, types: "sissb", unlock: true, run: (*Daemon).newDirectMsg,
		help: "newdirectmsg <from> <k> <to> <msg> [copy_self=false]\nPost a new dm to swarm.\nif copy_self true will increase k twice (two DMs).",
	},
	"getposts": {
		counts: []int{2, 3, 4}, types: "iaii", run: (*Daemon).getPosts,
		help: "getposts <count> '[{\"username\":username,\"max_id\":max_id,\"since_id\":since_id},...]' [allowed_flags=~2] [required_flags=0]\n" +
			"get posts from users\nmax_id and since_id may be omited\n(optional) allowed/required flags are bitwise fields (1=RT,2=DM,4=FAV,12=PFAV)",
	},
	"getdirectmsgs": {
		counts: []int{3}, types: "sia", run: (*Daemon).getDirectMsgs,
		help: "getdirectmsgs <localuser> <count_per_user> '[{\"username\":username,\"max_id\":max_id,\"since_id\":since_id},...]'\n" +
			"get (locally stored) decrypted direct messages sent/received by user <localuser>\n" +
			"max_id and since_id may be omited. up to <count_per_user> are returned for each remote user.",
	},
	"rescandirectmsgs": {counts: []int{1}, types: "s", run: (*Daemon).rescanDirectMsgs, help: "rescandirectmsgs <username>"},

	"dhtput": {
		counts: []int{5, 6}, types: "sssvsi", unlock: true, run: (*Daemon).dhtPutCall,
		help: "dhtput <username> <resource> <s(ingle)/m(ulti)> <value> <sig_user> <seq>\nStore resource in dht network",
	},
	"dhtget": {
		counts: []int{3, 4, 5, 6}, types: "sssiii", public: true, run: (*Daemon).dhtGetCall,
		help: "dhtget <username> <resource> <s(ingle)/m(ulti)> [timeout_ms] [timeout_multi_ms] [min_multi]\nGet resource from dht network",
	},

	"creategroup":    {counts: []int{1, 2}, types: "ss", unlock: true, run: (*Daemon).createGroup, help: "creategroup <description> [<groupprivkey>]"},
	"newgroupinvite": {counts: []int{4}, types: "sisa", unlock: true, run: (*Daemon).newGroupInvite, help: "newgroupinvite <username> <k> <groupalias> '[newmember1,...]'"},
	"getgroupinfo":   {counts: []int{1}, types: "s", run: (*Daemon).getGroupInfo, help: "getgroupinfo <groupalias>"},
	"listgroups":     {counts: []int{0, 1, 2}, types: "sb", run: (*Daemon).listGroups, help: "listgroups [username] [only_ignored=false]"},
	"leavegroup":     {counts: []int{2}, types: "ss", run: (*Daemon).leaveGroup, help: "leavegroup <username> <groupalias>"},
}
