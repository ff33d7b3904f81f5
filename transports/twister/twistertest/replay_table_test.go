package twistertest_test

// leftOut are the calls that Weft never makes, whose records are not in testdata.
var leftOut = []string{
	"dumpprivkey", "dumppubkey", "encryptwallet", "getfavs", "getmentions", "getmininginfo", "getpiecemaxseen", "getrawmempool", "getspamposts", "gettrendinghashtags", "help", "importprivkey", "listusernamespartial",
	"newfavmsg", "newgroupdescription", "newpostcustom", "newpostraw", "newrtmsg", "peekpost", "recheckusertorrent", "search",
	"setgenerate", "signmessage", "verifymessage",
}

// excluded are the records in testdata that are not compared, by line.
var excluded = map[int]string{
	179: "shows retwists, which Weft never makes",
	199: "after recheckusertorrent, which Weft never calls",
	200: "after recheckusertorrent",
	205: "after recheckusertorrent",
	402: "after newgroupdescription, which Weft never calls",
	414: "after newgroupdescription",
	460: "the RSS feed, which Weft never reads",
	494: "the simulation listens on IPv4 alone",
	517: "the order in which a killed daemon fetches what it lost is libtorrent's",
	529: "what was sent between the kill and this call was not recorded",
	537: "2,587 of 5,000 messages, as far as an asynchronous rescan had come",
	568: "after recheckusertorrent",
}
