const { appendFile } = require('fs/promises');

exports.handler = async (event) => {
    const batchItemFailures = [];
    for (const { kinesis } of event.Records) {
        try {
            const { fruit, count } = JSON.parse(Buffer.from(kinesis.data, 'base64'));
            if (!Number.isInteger(count)) throw new Error(`'${count}' is not a number`);
            await appendFile('stock.txt', `${count} ${fruit}\n`);
        } catch (error) {
            console.log('not stored:', error.message);
            batchItemFailures.push({ itemIdentifier: kinesis.sequenceNumber });
            break;
        }
    }
    return { batchItemFailures };
};
